"""What a probe stands on: a lab of its own, with three NICs; all that is done is kept as evidence.

The third NIC, the *witness*, is a neighbour of the provider NIC: what it is sent, or is not,
is seen there.
"""

from __future__ import annotations

import functools
import itertools
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from osawslab.aws import facts, once
from osawslab.aws.inquiry import FORBIDDEN, Refusal, attempt
from osawslab.errors import LabError
from osawslab.host import wire
from osawslab.host.ssh import SshHost
from osawslab.probes import frames
from osawslab.probes.claim import UNTRIED, Claim, CouldNotTry, Evidence, Finding
from osawslab.probes.frames import Match
from osawslab.steps.site import Site

SILENCE = 1.0  # seconds without an answer are silence: one comes within milliseconds
PATIENCE = 20.0  # EC2's changes reach the network within seconds
WITNESS = "witness-nic"  # its role
DRIVERS = ("ena", "ixgbevf", "vif")
STATUS = "exit status "


@dataclass(frozen=True)
class Nic:
    """A NIC as EC2 has it registered."""

    id: str
    mac: str
    address: str

    @property
    def pair(self) -> tuple[str, str]:
        """MAC and IP."""
        return self.mac, self.address


@dataclass(frozen=True)
class Shell:
    """What a command on the instance said, and its exit status."""

    text: str
    status: int


@dataclass
class Ground:
    """The probe's lab, and what has been done for the claim at hand."""

    site: Site
    said: list[Evidence] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(20001))

    def attempt(self, claim: Claim) -> Finding:
        """Try a claim; what stops it is said, and is no verdict on the claim."""
        self.said.clear()
        try:
            answer = claim.attempt(self)
        except CouldNotTry as error:
            return Finding(claim, UNTRIED, error.what, tuple(self.said))
        except LabError as error:
            why = "; ".join(filter(None, (error.what, error.seen)))
            return Finding(claim, UNTRIED, why, tuple(self.said))
        return Finding(claim, answer.verdict, answer.seen, tuple(self.said))

    @property
    def ec2(self) -> Any:
        """EC2's client."""
        return self.site.ec2

    @functools.cached_property
    def facts(self) -> facts.Facts:
        """What EC2 had of the lab when the probe began."""
        return self.site.read_ec2()

    @property
    def host(self) -> SshHost:
        """The instance. Raises StepNotReady."""
        return self.site.instance.host

    @property
    def type(self) -> str:
        """The instance type."""
        return self.site.settings.instance_type

    @functools.cached_property
    def provider(self) -> Nic:
        """The second NIC."""
        nic = self.facts.nics["provider"]
        return Nic(
            str(nic["NetworkInterfaceId"]), str(nic["MacAddress"]), str(nic["PrivateIpAddress"])
        )

    def free(self, number: int) -> str:
        """Give an address of the provider subnet that nobody has, counted from its end."""
        return str(IPv4Network(self.site.settings.provider_cidr)[-2 - number])

    @functools.cached_property
    def name(self) -> str:
        """What the instance calls its second NIC; "" where it has none of that MAC."""
        told = self.host.run("ip -j -d addr show")
        self.said.append(Evidence("instance", "ip -j -d addr show", told.strip()))
        return next((each["ifname"] for each in links(told, self.provider.mac)), "")

    @functools.cached_property
    def driver(self) -> str:
        """The driver of the second NIC: as its kernel says, else as EC2 says of the type."""
        told = self.shell(f"basename $(readlink /sys/class/net/{self.name}/device/driver)").text
        if told in DRIVERS:
            return told
        found = facts.ena(self.ec2, self.type)
        self.said.append(
            Evidence(
                "aws",
                f"aws ec2 describe-instance-types --instance-types {self.type}"
                " --query 'InstanceTypes[0].NetworkInfo.EnaSupport'",
                "required" if found else "not required",
            )
        )
        return "ena" if found else "vif"

    def shell(self, command: str) -> Shell:
        """Run a command as root on the instance, whatever it answers."""
        told = self.host.run(f"{{ {command}\n}} 2>&1; echo; echo {shlex.quote(STATUS)}$?")
        text, _, status = told.rpartition(STATUS)
        found = Shell(text.strip(), int(status))
        shown = found.text if not found.status else f"{found.text}\n{STATUS}{found.status}"
        self.said.append(Evidence("instance", command, shown.strip()))
        return found

    def script(self, source: str, words: str, **given: Any) -> Any:
        """Run one of `host`'s programs on the instance; the evidence is what it answers."""
        told = self.host.script(source, **given)
        self.said.append(Evidence("instance", words, str(told)))
        return told

    def ask(self, method: str, **given: Any) -> Any:
        """Call EC2; its answer, or its Refusal. Raises CouldNotTry where IAM forbids it."""

        def call() -> Any:
            found: list[Any] = []
            once.until_known(lambda: found.append(getattr(self.ec2, method)(**given)))
            return found[0]

        told = attempt(call)
        words = " ".join(f"{key}={value}" for key, value in given.items())
        shown = str(told) if isinstance(told, Refusal) else "accepted"
        self.said.append(Evidence("aws", f"ec2.{method} {words}", shown))
        if isinstance(told, Refusal) and told.code in FORBIDDEN:
            raise CouldNotTry(f"{method} is not allowed: {told}")
        return told

    def must(self, method: str, **given: Any) -> Any:
        """Call EC2 for what a claim needs. Raises CouldNotTry where it refuses."""
        told = self.ask(method, **given)
        if isinstance(told, Refusal):
            raise CouldNotTry(f"EC2 refused {method}: {told}")
        return told

    def number(self) -> int:
        """Give a number that no frame has had."""
        return next(self._numbers)

    def exchange(
        self, words: str, frame: bytes, match: Match, seconds: float, listen: str = ""
    ) -> bytes:
        """Send a frame from the provider NIC; the one that matches, or b"" for silence.

        `listen` is the MAC of another NIC to listen at.
        """
        told = self.host.script(
            Path(wire.__file__).read_text(),
            nic=self.provider.mac,
            listen=listen or self.provider.mac,
            frame=frame.hex(),
            match=frames.sent(match),
            seconds=seconds,
        )
        missing = [mac for mac, name in told["names"].items() if not name]
        if missing:
            raise CouldNotTry(f"the instance has no NIC with the MAC {', '.join(missing)}")
        found = bytes.fromhex(told["found"])
        came = f"a frame from {found[6:12].hex(':')}" if found else f"silence for {seconds:g} s"
        where = f", listening at {listen}" if listen else ""
        self.said.append(
            Evidence("wire", words + where, f"sent {told['sent']} times; {came}: {found.hex(' ')}")
        )
        return found

    @functools.cached_property
    def gateway(self) -> str:
        """The MAC of the VPC's router, as it answers ARP. Raises CouldNotTry."""
        return self.asked(self.site.settings.provider_gateway)

    def asked(self, address: str) -> str:
        """Give the MAC that answers who-has from the registered pair. Raises CouldNotTry."""
        frame = frames.arp(self.provider.mac, self.provider.pair, address)
        found = self.exchange(f"ARP who-has {address}", frame, frames.arp_answer(address), PATIENCE)
        if not found:
            raise CouldNotTry(f"nobody answers ARP for {address}, not even to the registered pair")
        return frames.says(found)

    def pings(self, pair: tuple[str, str], seconds: float) -> bool:
        """Say whether a ping of the internet from a pair of MAC and IP is answered."""
        number, peer = self.number(), self.site.settings.ping_address
        frame = frames.echo(pair, (self.gateway, peer), number)
        words = f"ping {peer} from MAC {pair[0]}, IP {pair[1]}"
        return bool(self.exchange(words, frame, frames.echo_answer(peer, number), seconds))

    def arrives(
        self,
        pair: tuple[str, str],
        seconds: float = SILENCE,
        to: tuple[str, str] | None = None,
    ) -> bool:
        """Say whether a datagram from a pair of MAC and IP reaches the neighbour's NIC."""
        number, target = self.number(), to or self.witness.pair
        frame = frames.datagram(pair, target, number)
        words = f"UDP from MAC {pair[0]}, IP {pair[1]} to MAC {target[0]}, IP {target[1]}"
        match = frames.that_datagram(number)
        return bool(self.exchange(words, frame, match, seconds, self.witness.mac))

    def control(self) -> None:
        """See that a ping of the registered pair is answered. Raises CouldNotTry."""
        if not self.pings(self.provider.pair, PATIENCE):
            raise CouldNotTry("a ping from the registered pair is not answered either")

    def neighbour(self) -> None:
        """See that a datagram of the registered pair reaches the neighbour. Raises CouldNotTry."""
        if not self.arrives(self.provider.pair, PATIENCE):
            raise CouldNotTry("a datagram from the registered pair does not arrive either")

    @functools.cached_property
    def witness(self) -> Nic:
        """The third NIC, in the second one's subnet; made when it is first asked for."""
        lab, have = self.site.settings.name, self.facts
        assert have.group is not None
        assert have.instance is not None
        made = self.must(
            "create_network_interface",
            SubnetId=have.subnets["provider"]["SubnetId"],
            Groups=[have.group["GroupId"]],
            TagSpecifications=[
                facts.specification(
                    "network-interface", lab, WITNESS, facts.tag(have.vpc or {}, facts.MADE)
                )
            ],
        )["NetworkInterface"]
        nic = Nic(
            str(made["NetworkInterfaceId"]), str(made["MacAddress"]), str(made["PrivateIpAddress"])
        )
        self.must(
            "attach_network_interface",
            NetworkInterfaceId=nic.id,
            InstanceId=have.instance["InstanceId"],
            DeviceIndex=2,
        )
        self.must(
            "authorize_security_group_ingress",
            GroupId=have.group["GroupId"],
            IpPermissions=[
                {
                    "IpProtocol": "udp",
                    "FromPort": frames.PORT,
                    "ToPort": frames.PORT,
                    "IpRanges": [{"CidrIp": self.site.settings.vpc_cidr}],
                }
            ],
        )
        return nic

    @contextmanager
    def unchecked(self) -> Iterator[None]:
        """Switch SourceDestCheck of the provider NIC off, for a `with` block."""
        self._check(False)
        try:
            yield
        finally:
            self._check(True)

    def _check(self, on: bool) -> None:
        self.must(
            "modify_network_interface_attribute",
            NetworkInterfaceId=self.provider.id,
            SourceDestCheck={"Value": on},
        )


def links(told: str, mac: str) -> list[dict[str, Any]]:
    """Find the links with a MAC in what `ip -j addr` says."""
    return [each for each in json.loads(told) if mac in (each.get("address"), each.get("permaddr"))]
