"""The rules of the local region as the kernel holds them, each with a sentence in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osawslab.region.local import Region
from osawslab.report import Table


@dataclass(frozen=True)
class Rule:
    """What the kernel was asked, its answer in words, and what that means."""

    means: str
    command: str
    said: str


# What is asked in each VPC's namespace, in the order in which a frame meets it.
ASKED = (
    (
        "Source check. Each frame that leaves a NIC must have that NIC's registered MAC; ARP must"
        " tell a registered pair of MAC and address; IP must come from a registered address unless"
        " SourceDestCheck is off. All else is dropped and counted.",
        ("nft", "list", "table", "bridge", "guard"),
    ),
    (
        "Mapping service: a subnet is a bridge that floods nothing. A frame goes to the NIC whose"
        " registered MAC it names, and one for nobody goes nowhere.",
        ("bridge", "fdb", "show"),
    ),
    (
        "ARP is answered by the VPC, never by the neighbour, from exactly these pairs.",
        ("ip", "neigh", "show", "nud", "permanent"),
    ),
    (
        "The VPC's router: Elastic IPs are translated one to one at the internet gateway, network"
        " ACLs hold for each packet, security groups keep state, and what has no Elastic IP does"
        " not leave.",
        ("nft", "list", "table", "ip", "router"),
    ),
)
DROPS = {
    "mac": "a source MAC that is not registered for the NIC",
    "arp": "ARP that tells another pair of MAC and address than the registered one",
    "ip": "a source address that is not registered, with SourceDestCheck on",
    "acl": "the subnet's network ACL denies it",
    "group": "no security group allows it",
    "no_eip": "bound for the internet from an address without an Elastic IP",
    "other": "neither IPv4 nor ARP",
}


@dataclass(frozen=True)
class Rules:
    """The rules of each VPC, by the name of its namespace."""

    vpcs: dict[str, tuple[Rule, ...]]

    @property
    def text(self) -> str:
        """The rules as a person reads them; a comment in front of each answer."""
        if not self.vpcs:
            return "# There is no VPC yet. One is made when an instance in it runs."
        parts = []
        for vpc, rules in self.vpcs.items():
            parts.append(f"# {vpc}: the network namespace that is a VPC")
            parts += [
                f"# {rule.means}\n# {vpc}$ {rule.command}\n{rule.said or '(nothing)'}"
                for rule in rules
            ]
        return "\n\n".join(parts)

    @property
    def data(self) -> dict[str, Any]:
        """The rules for programs."""
        return {vpc: [vars(rule) for rule in rules] for vpc, rules in self.vpcs.items()}


def read(region: Region) -> Rules:
    """Ask the kernel for the rules of every VPC. Raises RegionGone, OSError."""
    vpcs = [place for place in region.places() if place.startswith("vpc-")]
    return Rules({vpc: tuple(_ask(region, vpc, *asked) for asked in ASKED) for vpc in vpcs})


def _ask(region: Region, vpc: str, means: str, words: tuple[str, ...]) -> Rule:
    if words[-2:] == ("ip", "router") and region.tier == "uml":  # whose nftables know bridges only
        words = ("iptables-legacy-save",)
    done = region.execute(vpc, words)
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    if words[0] == "bridge":  # the kernel's own entries for its ports say nothing about the VPC
        lines = [line for line in lines if " static" in line]
    return Rule(means, " ".join(words), "\n".join(lines))


def drops(region: Region) -> Table:
    """Count the frames that the VPCs dropped, by reason."""
    found = region.drops()
    rows = tuple((reason, str(found[reason]), DROPS[reason]) for reason in DROPS)
    return Table("Frames the VPC dropped", ("reason", "frames", "what it means"), rows)
