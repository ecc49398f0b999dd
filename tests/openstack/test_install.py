"""A real OpenStack in the local region: installed while it is killed again and again, then used.

Needs root, and Debian's packages from the machine's mirrors.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mirrors import kill
from watch import Watch, forms

from osawslab import Lab
from osawslab.cloud.openstack import image, parts, services
from osawslab.errors import LabError, StepFailed
from osawslab.region import rootfs
from osawslab.steps import bake, openstack_install

KILLED = """
import os, signal, sys, threading
from osawslab import Lab

class Progress:
    count = 0
    def start(self, step, total): pass
    def done(self, text): pass
    def action(self, text, **_):
        self.count += 1
        print(text, flush=True)
        if self.count == int(sys.argv[1]):
            seconds = float(sys.argv[2])
            if not seconds:
                os.kill(os.getpid(), signal.SIGKILL)
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL)).start()
        if self.count > int(sys.argv[1]):  # the part took less than that
            os.kill(os.getpid(), signal.SIGKILL)

with Lab("real", cloud="openstack") as lab:
    lab.progress = Progress()
    assert lab.run("install_cloud").ok
"""
# The learner's machine is gone, and what ran on the instance too: whoever holds the parts' lock.
CUT_OFF = """
import json, os, signal
from pathlib import Path

folder = os.stat(GIVEN["folder"])
held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
pids = [int(each[4]) for each in held if each[5].endswith(f":{folder.st_ino}")]
for pid in pids:
    os.killpg(os.getpgid(pid), signal.SIGKILL)
print(json.dumps(len(pids)))
"""
BOOT_SECONDS = 240.0
COOKIE = f"cat {image.COOKIE}"
# What an instance of an image does anew: all that has a name, an address or a secret in it.
BAKED = ("secrets", "base", "configuration", "identity", "accounts", "services")


def install(home: Path, number: int, seconds: float) -> tuple[int, list[str]]:
    """Install, killed so long after the action of that number began; status, what it began."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(number), str(seconds)],
        cwd=home, stdout=subprocess.PIPE, text=True, timeout=900,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


def has_secrets(layer: Path) -> list[str]:
    """List what a layer has of passwords and keys of its maker's."""
    files = [path for path in (layer / each[1:] for each in services.READERS) if path.is_file()]
    kept = [image.COOKIE, "/etc/keystone/fernet-keys/0", "/etc/keystone/credential-keys/0"]
    return [
        *(path for path in kept if (layer / path[1:]).is_file()),
        *(
            str(file)
            for file in files
            if re.search(r"(?i)^\w*(connection|url|password|secret) *=.*[0-9a-f]{32}",
                         file.read_text(), re.MULTILINE)
        ),
    ]  # fmt: skip


def command(*words: str) -> dict[str, Any]:
    """Run the program as a learner does."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "osawslab"), *words, "--json"],
        env={**os.environ, "OSAWSLAB_NAME": "real", "OSAWSLAB_CLOUD": "openstack"},
        capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-2000:]
    return dict(json.loads(done.stdout))


def cut_off(lab: Lab) -> bool:
    """Kill the part that a killed client has left on the instance; False where it was done."""
    found = bool(lab.host().script(CUT_OFF, folder=parts.FOLDER))
    lab.shell(f"flock -w 60 {parts.FOLDER} true")  # its processes end one after another
    return found


def part_of(lab: Lab) -> str:
    """Name the part that would be done first; "" where that is no part."""
    first = "".join(action.command for action in lab.plan("install_cloud").actions[:1])
    names = ("packages", *BAKED, "databases", "guest")
    return next((name for name in names if f"> {parts.FOLDER}/{name}.stamp" in first), "")


def test_killed_at_each_part_and_inside_of_three_it_converges(lab: Lab) -> None:
    home = Path.cwd()
    assert lab.provision().ok
    count = len(lab.plan("install_cloud").actions)
    new = count == 10  # no image of this installer yet
    assert count == (10 if new else len(BAKED) + 1)
    dice = random.Random(13)
    inside = {name: dice.uniform(1, 4) for name in ("base", "configuration", "services")}
    if new:
        inside = {"packages": dice.uniform(10, 40)}
        inside |= {name: dice.uniform(1, 4) for name in ("databases", "services")}
    begun: list[str] = []
    with Watch(0.1) as watch:
        for _ in range(count + 15):  # three of the parts more than once
            name = part_of(lab)
            if name in inside:
                seconds = inside.pop(name)
                status, said = install(home, 1, seconds)
                if not cut_off(lab):
                    done = part_of(lab) != name  # else it had not begun
                    inside[name] = seconds / 2 if done else 2 * seconds
                    if done:
                        lab.shell(f"rm -f {parts.FOLDER}/{name}.stamp")
            else:
                status, said = install(home, 2, 0.0)
            begun += said
            if status == 0:
                break
            assert status == -signal.SIGKILL
    assert not inside
    assert len(set(begun)) == count
    assert lab.check("install_cloud")
    assert not lab.run("install_cloud").changed
    secrets = openstack_install.secrets(lab.host())
    words = {form for name in parts.SECRET_NAMES for form in forms(secrets[name])}
    assert any(b"keystone-manage\0bootstrap" in each for each in watch.seen)
    assert [each for each in watch.seen if any(word in each for word in words)] == []


def test_an_image_of_it_needs_no_packages_and_has_no_secret_of_its_maker(lab: Lab) -> None:
    secrets, cookie = openstack_install.secrets(lab.host()), lab.shell(COOKIE).output
    made = lab.bake()
    assert made.ok
    [layer] = [
        Path(about["layers"][0])
        for _, about in rootfs.abouts()
        if about["id"] == made.data["image"]
    ]
    assert not has_secrets(layer)
    words = "\n".join(secrets[name] for name in parts.SECRET_NAMES)
    found = subprocess.run(
        ["grep", "-rlFf", "-", *(layer / name for name in ("etc", "var/lib/osawslab", "var/log"))],
        input=words, capture_output=True, text=True,
    )  # fmt: skip
    assert (found.stdout, found.returncode) == ("", 1)
    if made.changed:  # whose instance is as good as new
        assert lab.tear_down().ok
        assert lab.provision().ok
        names = [action.why for action in lab.plan("install_cloud").actions]
        assert len(names) == len(BAKED) + 1
        assert not [name for name in names if "packages" in name or "tables" in name]
        assert lab.run("install_cloud").ok
        new = openstack_install.secrets(lab.host())
        assert not set(new.values()) & set(secrets.values())
        assert lab.shell(COOKIE).output != cookie
    assert len(lab.shell(COOKIE).output) == 56  # not Erlang's own, which can be guessed
    assert not lab.bake().changed
    assert lab.check("install_cloud")


def test_the_tour_gives_the_same_proof_and_the_second_changes_nothing(lab: Lab) -> None:
    told = command("tour")
    proof = told["proof"]
    assert told["ok"]
    assert proof["ping_before"] == {"sent": 3, "received": 0}
    assert proof["drops_before"]["mac"] >= 1
    assert proof["ping_after"] == {"sent": 3, "received": 3}
    assert proof["gateway_mac_after"] == proof["registered_mac"] != proof["gateway_mac_before"]
    assert proof["gateway_mac_before"].startswith("fa:16:3e:")
    assert proof["published"]["hostname"] == "vm1"
    again = command("tour")
    assert [step["name"] for step in again["steps"] if step["changed"]] == []
    assert again["proof"] == {**proof, "evidence": "earlier"}


def test_an_image_does_not_carry_the_labs_vm(lab: Lab) -> None:
    with pytest.raises(LabError, match="would carry") as refused:
        bake.plan(lab._site(), "another installer's")
    assert 'lab.reset("networks")' in refused.value.next


def test_the_vm_is_a_hypervisors_and_the_router_is_neutrons(lab: Lab) -> None:
    assert "qemu-system" in lab.shell("pgrep -a qemu-system").output
    networks = lab.run("networks")
    assert not networks.changed
    assert "guest: ready, vm1" in networks.text
    [router] = [each for each in networks.tables if each.caption == "Router as Neutron has it"]
    assert router.rows == (("router1", "ACTIVE", "172.16.20.101", "on", "its networks' alone"),)
    netns = lab.shell("ip netns list").output
    assert re.search(r"qrouter-[0-9a-f-]{36}", netns)
    assert "qdhcp-" in netns
    told = openstack_install.cloud(lab._site(), lab.host())
    assert {each.binary for each in told.network.agents() if each.is_alive} == set(services.AGENTS)
    assert {each.type for each in told.identity.services()} >= {
        "identity", "network", "compute", "image", "placement",
    }  # fmt: skip
    assert "Failure" not in lab.shell("runuser -u nova -- nova-status upgrade check").output


def test_a_tap_that_the_switch_took_on_as_off_is_switched_on(lab: Lab) -> None:
    """What libvirt does when it has started a VM."""
    [vm] = lab.shell("virsh list --name").output.split()
    hook = f"virsh dumpxml {vm} | /etc/libvirt/hooks/qemu.d/osawslab {vm} started begin -"
    told = lab.shell(
        "tap=$(ls /sys/class/net | grep ^tap); ip link set $tap down; ip -br link show $tap; "
        f"{hook}; ip -br link show $tap"
    ).output
    assert ["UP" in each for each in re.findall(r"<(.*)>", told)] == [False, True], told


def test_secrets_are_seen_nowhere(lab: Lab, home: Path) -> None:
    secrets = openstack_install.secrets(lab.host())
    words = [secrets[name] for name in parts.SECRET_NAMES]
    assert len(set(words)) == len(parts.SECRET_NAMES)
    seen = [lab.shell("ps -eww -o args").output]
    for step in lab.steps:
        seen += [repr(lab.plan(step)), lab.plan(step)._repr_html_(), repr(lab.check(step))]
    seen += [lab.run("install_cloud").text, lab.run("networks")._repr_html_()]
    for path in (home / "state").rglob("*"):
        if "disks" not in path.parts and path.is_file():
            seen.append(path.read_text(errors="replace"))
    assert not [word for word in words for text in seen if word in text]
    assert lab.shell(f"stat -c %a:%U {parts.SECRETS}").output.endswith("600:root")


def test_a_changed_setting_restarts_only_what_depends_on_it(lab: Lab) -> None:
    ini = "/etc/neutron/plugins/ml2/openvswitch_agent.ini"
    lab.shell(f"crudini --set {ini} ovs of_inactivity_probe 5")
    lab.shell(f"rm {parts.FOLDER}/configuration.stamp")
    since = "systemctl show -p ActiveEnterTimestampMonotonic --value "
    units = ("neutron-openvswitch-agent", "neutron-l3-agent", "nova-compute", "keystone", "mariadb")
    before = {unit: lab.shell(since + unit).output for unit in units}
    assert len(lab.plan("install_cloud").actions) == 2  # that part, and a look at the agents
    assert lab.run("install_cloud").ok
    changed = [unit for unit in units if lab.shell(since + unit).output != before[unit]]
    assert changed == ["neutron-openvswitch-agent"]


class Losing:
    """Progress of a run that loses its mirror as soon as it begins to install."""

    def start(self, step: str, total: int) -> None:
        pass

    def done(self, text: str) -> None:
        pass

    def action(self, text: str, **_: Any) -> None:
        if "packages" in text:
            kill("real")


def test_a_mirror_that_is_lost_is_named_and_the_rest_follows(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run has another one."""
    package = "macchanger"
    assert package in services.PACKAGES
    lab.shell(f"apt-get -qy remove {package}")
    with monkeypatch.context() as patch:
        patch.setattr(lab, "progress", Losing())
        with pytest.raises(StepFailed, match="part packages could not be done") as failed:
            lab.run("install_cloud")
    assert re.search("Failed to fetch .*InRelease", failed.value.seen)
    assert lab.run("install_cloud").ok
    assert package in lab.shell(f"dpkg-query -W {package}").output


def test_a_service_that_does_not_come_up_says_why_in_its_own_words(lab: Lab) -> None:
    """systemd starts it again and again, so that it is nearly always "active"."""
    agent = "neutron-l3-agent"
    use = "crudini --set /etc/neutron/l3_agent.ini DEFAULT interface_driver"
    begun = time.monotonic()
    lab.shell(f"{use} nosuch; systemctl kill -s KILL {agent}")
    try:
        with pytest.raises(StepFailed) as failed:
            lab.run("install_cloud")
        assert re.search(f"{agent}.*Error loading interface driver 'nosuch'", failed.value.seen)
        assert time.monotonic() - begun < openstack_install.AGENTS_SECONDS / 2
    finally:
        lab.shell(f"{use} openvswitch; systemctl restart {agent}")
    assert lab.run("install_cloud").ok


def test_a_reboot_brings_openstack_back_and_the_swap_is_missed(lab: Lab) -> None:
    lab.reset("make_it_last")
    ec2 = lab.client("ec2")
    running = [{"Name": "instance-state-name", "Values": ["running"]}]  # another was baked
    [found] = ec2.describe_instances(Filters=running)["Reservations"]
    ec2.reboot_instances(InstanceIds=[found["Instances"][0]["InstanceId"]])
    deadline = time.monotonic() + BOOT_SECONDS
    failed = "nothing asked yet"
    while failed and time.monotonic() < deadline:
        try:
            checks = lab.check("install_cloud")
            failed = "; ".join(each.seen for each in checks.checks if not each)
        except LabError as error:
            failed = str(error)
        time.sleep(1)
    assert not failed
    swapped = lab.check("swap_mac")
    assert not swapped
    assert "lab.swap_mac()" in {each.next for each in swapped.checks if not each}
    told = command("tour")
    assert told["ok"]
    assert told["proof"]["published"]["hostname"] == "vm1"


def test_somebody_elses_openstack_is_refused_and_untouched(lab: Lab) -> None:
    lab.shell(f"mv {parts.FOLDER} {parts.FOLDER}.away")
    try:
        before = lab.shell("md5sum /etc/keystone/keystone.conf").output
        with pytest.raises(LabError, match="somebody else has configured OpenStack"):
            lab.run("install_cloud")
        assert lab.shell("md5sum /etc/keystone/keystone.conf").output == before
    finally:
        lab.shell(f"mv {parts.FOLDER}.away {parts.FOLDER}")
