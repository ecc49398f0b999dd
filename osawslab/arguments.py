"""The commands, their options, and the help for each with an example; the lab that they mean."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from osawslab.console import program
from osawslab.errors import BadSetting
from osawslab.settings import DEFAULTS, Settings, load

if TYPE_CHECKING:
    from osawslab.lab import Lab

STEPS = (
    "provision", "install_cloud", "provider_nic", "networks", "see_the_drop", "swap_mac", "verify",
    "publish_vm", "make_it_last", "tear_down",
)  # fmt: skip
FLAGS = {  # settings that have an option of their own
    "name": ("NAME", "the lab (its region, its state); default: lab"),
    "target": ("PLACE", "local, or aws: your account, where it costs money; default: local"),
    "instance_type": ("TYPE", "it decides what the NIC can do; default: t2.large"),
    "cloud": ("KIND", "handbuilt, or openstack: the real one (needs root); default: handbuilt"),
    "dashboard": ("yes|no", "with openstack: Horizon too, see `dashboard`; default: no"),
    "cirros": ("yes|no", "with openstack: CirrOS's image too (needs the internet); default: no"),
    "bridge": ("KIND", "auto, openvswitch or linux; default: auto"),
    "strategy": (
        "WAY",
        "of the registered MAC to the router: auto, swap, share or mac-nat; default: auto",
    ),
}


def parser() -> ArgumentParser:
    """Make the parser of the command line."""
    made = ArgumentParser(
        prog=program(),
        formatter_class=RawDescriptionHelpFormatter,
        description="Learn, try and keep running OpenStack on AWS EC2, here on a local EC2 region.",
        epilog=(
            "exit status: 0 all is well; 1 a check, a proof or a test does not hold; 2 bad usage or"
            " an error\nthat says what to do next; 3 a part of `test` was NOT RUN; 130 Ctrl-C\n\n"
            f"{program()} COMMAND --help tells more"
        ),
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str, example: str, *, json: bool = True) -> ArgumentParser:
        sub = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog="example:\n  " + example.replace("LAB", program()),
            formatter_class=RawDescriptionHelpFormatter,
        )
        _settings(sub)
        if json:
            sub.add_argument("--json", action="store_true", help="answer as JSON, alone on stdout")
        return sub

    _start(command("start", "open the notebooks in JupyterLab", "LAB start --no-browser"))
    command("tour", "run the whole tutorial here and prove it", "LAB tour --instance-type t3.large")
    for name, help in (
        ("plan", "show what a step would do now, and do nothing"),
        ("run", "do what is missing of a step"),
        ("check", "hold a step's facts against what they should be"),
        ("reset", "undo a step and every later one"),
    ):
        _step(command(name, help, f"LAB {name} swap_mac"))
    sub = command("hint", "help with a step, a little or more", "LAB hint swap_mac --level 2")
    _step(sub)
    sub.add_argument("--level", type=int, choices=(1, 2, 3), default=1, help="1 a little, 3 all")
    help = "install a real OpenStack once, and keep it: later labs start from it (needs root)"
    command("image", help, "LAB image")
    sub = command("status", "say what exists, and start nothing", "LAB status --json")
    sub.add_argument("--all", action="store_true", help="every lab of the account, or of this user")
    help = "say why a packet does not arrive: look at a lab, or at any host, and change nothing"
    _diagnose(command("diagnose", help, "LAB diagnose --ssh admin@203.0.113.10"))
    help = "make the seats of a class, here or in an AWS account, show them, give them back"
    _seats(command("seats", help, "LAB seats 30 --learners names.txt"))
    sub = command("extend", "let a lab that costs money live longer", "LAB extend --hours 1")
    sub.add_argument("--hours", default="1", help="so many more; default: 1")
    _sweep(command("sweep", "show what labs have left behind", "LAB sweep --older-than 8h --yes"))
    _ssh(
        command("ssh", "log in to the instance or to the VM", "LAB ssh vm -- hostname", json=False)
    )
    help = "lead a port here to OpenStack's dashboard, until Ctrl-C (installed by --dashboard yes)"
    sub = command("dashboard", help, "LAB dashboard")
    sub.add_argument("--port", type=int, help="0: any; default: the first free one from 8780")
    sub = command(
        "wireshark",
        "capture at points of a lab, into Wireshark",
        'LAB wireshark "provider NIC" VPC --filter "icmp or arp"',
        json=False,
    )
    sub.add_argument("point", nargs="*", metavar="POINT", help="default: all of a packet's way")
    sub.add_argument("--filter", default="", help='as tcpdump has them: "icmp or arp"')
    sub.add_argument("--write", metavar="FILE", help="write pcapng to a file, or - for a pipe")
    sub = command("floating-ip", "give a VM a public address of its own", "LAB floating-ip add vm1")
    sub.add_argument("what", choices=("add", "remove", "list"), help="what to do")
    sub.add_argument("which", nargs="?", default="", metavar="VM|ADDRESS", help="add: the VM")
    sub.add_argument(
        "--router", default="", metavar="ID", help="add: another router than the lab's"
    )
    _exercise(command("exercise", "find what was broken on purpose", "LAB exercise begin router"))
    command("env", "print what leads AWS's own tools to the region", 'eval "$(LAB env)"')
    sub = command("aws", "run the AWS CLI in the region", "LAB aws ec2 describe-vpcs", json=False)
    sub.add_argument("words", nargs="...", metavar="WORD", help="what the AWS CLI is asked")
    help, example = "run OpenStack's own client in the lab", "LAB openstack network agent list"
    sub = command("openstack", help, example, json=False)
    sub.add_argument("words", nargs="...", metavar="WORD", help="what the client is asked")
    help = "write what provision makes as a template; asks nothing of AWS"
    sub = command("export", help, "LAB export --format cloudformation > lab.json", json=False)
    sub.add_argument(
        "--format", choices=("cloudformation",), default="cloudformation", help="the only one"
    )
    _region(commands)
    sub = command(
        "down",
        "end a lab: its region and its state, or all it has on AWS; notebooks stay",
        "LAB down",
    )
    sub.add_argument("--all", action="store_true", help="end every lab of this user")
    help = "make one folder from which a machine without a network sets itself up"
    sub = command("fetch", help, "LAB fetch --offline ../class")
    sub.add_argument("--offline", action="store_true", required=True, help="the only way there is")
    default = "../osawslab-offline"
    sub.add_argument("into", nargs="?", default=default, metavar="FOLDER", help=f"new; {default}")
    sub = command("handout", "print the notebooks: a page, and a PDF", "LAB handout 50 60")
    sub.add_argument("notebook", nargs="*", metavar="NOTEBOOK", help="its number; default: all")
    page = Path("osawslab-handout.html")
    sub.add_argument("--write", type=Path, metavar="FILE", default=page, help=f"default: {page}")
    command("doctor", "look at this machine before anything is started", "LAB doctor")
    command("preflight", "look at the account before anything is made in it", "LAB preflight")
    _probe(command("probe", "try what is said of AWS, claim by claim", "LAB probe --target aws"))
    sub = command("bench", "measure, beside something real in the same run", "LAB bench tour")
    sub.add_argument(
        "section",
        nargs="*",
        metavar="SECTION",
        help="tour (if none), openstack, diagnosis, seats, …",
    )
    sub = command("test", "run the tests (in a checkout)", "LAB test unit nbval")
    sub.add_argument(
        "part",
        nargs="*",
        metavar="PART",
        help="lint, types, unit, …; default: all but tempest, hub",
    )
    return made


def _settings(sub: ArgumentParser) -> None:
    group = sub.add_argument_group("settings of the lab (they beat OSAWSLAB_* and lab.toml)")
    for name, (word, help) in FLAGS.items():
        group.add_argument("--" + name.replace("_", "-"), help=help, metavar=word)
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting, such as published_port=2222; again for more",
    )


def _step(sub: ArgumentParser) -> None:
    sub.add_argument("step", choices=STEPS, metavar="STEP", help=f"one of: {', '.join(STEPS)}")


def _start(sub: ArgumentParser) -> None:
    sub.add_argument(
        "--folder",
        type=lambda text: Path(text).expanduser().absolute(),
        default=Path.home() / "osawslab-notebooks",
        help="your copy of the notebooks; default: ~/osawslab-notebooks",
    )
    sub.add_argument("--port", type=int, help="of JupyterLab; 0: any; default: the first from 8888")
    sub.add_argument("--no-browser", action="store_true", help="only print the address")
    sub.add_argument(
        "--no-region", action="store_true", help="only read the notebooks, with what they show"
    )


def _sweep(sub: ArgumentParser) -> None:
    sub.add_argument(
        "--yes", action="store_true", help="give back what belongs to labs without an instance"
    )
    sub.add_argument(
        "--older-than",
        default="",
        metavar="AGE",
        help="also labs whose instance is older than so many m, h or d (minutes, hours, days)",
    )


def _probe(sub: ArgumentParser) -> None:
    sub.set_defaults(name="probe", instance_type="t3.small")
    sub.add_argument(
        "--save", type=Path, metavar="FILE", help="keep the report too: .md, else JSON"
    )


def _seats(sub: ArgumentParser) -> None:
    sub.add_argument("count", nargs="?", type=int, metavar="N", help="how many; none: only look")
    sub.add_argument("--learners", type=Path, metavar="FILE", help="their names, one a line")
    sub.add_argument(
        "--upto", choices=STEPS[:-1], default="provision", metavar="STEP",
        help="the last step that is done for the learners; default: provision",
    )  # fmt: skip
    sub.add_argument("--down", action="store_true", help="give back all that the seats have")
    sub.add_argument(
        "--exercise", action="append", default=[], metavar="[SEAT=]NAME",
        help="break the seats that there are; again for more, such as 03=nic-down+dnat-missing",
    )  # fmt: skip
    here = sub.add_argument_group("on this server")
    here.add_argument(
        "--listen", default="", metavar="ADDRESS", help="of JupyterLab; default: 127.0.0.1"
    )
    here.add_argument("--port", type=int, help="of the first seat; default: the first free one")
    here.add_argument("--watch", action="store_true", help="show the table until Ctrl-C")
    here.add_argument("--reset", default="", metavar="SEAT", help="begin a seat's lab anew")
    here.add_argument(
        "--enter", default="", metavar="SEAT", help="a shell in a seat, or: -- COMMAND …"
    )


def _exercise(sub: ArgumentParser) -> None:
    whats = ("list", "begin", "places", "hint", "answer", "check")
    sub.add_argument("what", nargs="?", default="list", choices=whats, help="default: list")
    sub.add_argument("word", nargs="*", metavar="WORD", help="a name, a level, or places")
    sub.add_argument("--seed", type=int, help="which fault it is; default: 1")
    sub.add_argument(
        "--all", action="store_true", dest="everyone", help="who has found what, in every lab"
    )


def _diagnose(sub: ArgumentParser) -> None:
    sub.add_argument("--ssh", metavar="USER@HOST", help="this host; default: the lab's instance")
    sub.add_argument("--identity", type=Path, metavar="FILE", help="the private key, as ssh -i")
    sub.add_argument("--ssh-config", type=Path, metavar="FILE", help="as ssh -F")
    sub.add_argument(
        "--provider-nic", default="", metavar="NAME", help="the NIC, where it is not found"
    )


def _ssh(sub: ArgumentParser) -> None:
    sub.usage = f"{program()} ssh [vm | instance] [options] [-- COMMAND …]"
    sub.add_argument("to", nargs="?", choices=("instance", "vm"), default="instance")


def _region(commands: Any) -> None:
    help = "look into the local region"
    sub = commands.add_parser("region", help=help, description="Look into the local region.")
    sub.epilog = f"example:\n  {program()} region rules"
    sub.formatter_class = RawDescriptionHelpFormatter
    whats = sub.add_subparsers(dest="what", required=True, metavar="WHAT")
    for name, help in (
        ("rules", "the rules of the VPC as the kernel holds them"),
        ("drops", "count what the VPC dropped, by reason"),
        ("status", "where the region runs"),
        ("log", "what its process said"),
        ("faults", "have EC2's API fail as AWS does now and then; without FAULT no more"),
        ("connect", "join standard input and output to an address in it (ssh's ProxyCommand)"),
    ):
        what = whats.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        _settings(what)
        what.add_argument("--json", action="store_true", help="answer as JSON, alone on stdout")
        if name == "connect":
            what.add_argument("address")
            what.add_argument("port", type=int)
        if name == "faults":
            what.add_argument(
                "fault",
                nargs="*",
                metavar="FAULT",
                help="refuse=CODE, reset, lost (a reset after the call), slow=SECONDS or"
                " stale=SECONDS; @CALLS behind it names the calls, such as @RunInstances or"
                " @Create*; default: all that change something",
            )


def given(options: Namespace) -> dict[str, Any]:
    """Collect the settings from the options."""
    found: dict[str, Any] = {}
    for pair in options.set:
        key, equals, text = pair.partition("=")
        if not equals:
            raise BadSetting("--set wants KEY=VALUE", seen=pair, next="--set published_port=2222")
        if isinstance(DEFAULTS.get(key), int):
            if not text.isdecimal():
                raise BadSetting(
                    f"{key} must be a number", seen=repr(text), next=f"--set {key}={DEFAULTS[key]}"
                )
            found[key] = int(text)
        else:
            found[key] = text
    for key in FLAGS:
        if getattr(options, key) is not None:
            found[key] = getattr(options, key)
    return found


def settings_of(options: Namespace) -> Settings:
    """Make the settings. `start` reads the lab.toml of its notebooks, as these will."""
    return load(given(options), folder=getattr(options, "folder", None))


def lab_of(options: Namespace, progress_to_stdout: bool = False) -> Lab:
    """Open the lab; its progress is told as lines."""
    from osawslab.lab import Lab
    from osawslab.ui.progress import TerminalProgress

    made = Lab(**given(options))
    made.progress = TerminalProgress(sys.stdout if progress_to_stdout else sys.stderr)
    return made
