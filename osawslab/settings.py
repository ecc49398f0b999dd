"""One lab's addresses, names and sizes. Frozen; wrong ones are refused before anything is done.

Keywords beat environment variables `OSAWSLAB_*`, which beat `lab.toml` in the working
directory, which beats the defaults: the tutorial's own addresses.

>>> Settings().provider_address
'172.16.20.101'
>>> Settings(provider_address="10.0.0.1")
Traceback (most recent call last):
...
osawslab.errors.BadSetting: provider_address is outside provider_cidr
  seen: 10.0.0.1 is not in 172.16.20.0/24
  next: provider_address = "172.16.20.101"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from pathlib import Path
from typing import Any

from osawslab.errors import BadSetting


@dataclass(frozen=True)
class Settings:
    """The settings of a lab; addresses are IPv4 text, networks CIDR text."""

    name: str = "lab"
    target: str = "local"
    cloud: str = "handbuilt"  # | openstack: the real one, on an instance that is a whole Debian
    instance_type: str = "t2.large"
    dashboard: str = "no"  # | yes: Horizon too; `lab.dashboard()` leads a browser there
    cirros: str = "no"  # | yes: CirrOS's image too, which the instance downloads
    debian: int = 13  # the AMI's release
    image: str = "auto"  # auto: one that `lab.bake()` has made, else Debian's | debian
    region: str = "us-east-1"
    zone: str = "a"  # the letter of both subnets' availability zone; see `lab.preflight()`
    vpc_cidr: str = "172.16.0.0/16"
    management_cidr: str = "172.16.10.0/24"
    management_address: str = "172.16.10.101"
    provider_cidr: str = "172.16.20.0/24"
    provider_address: str = "172.16.20.101"  # registered, and unused by the instance itself
    provider_bridge: str = "br-example"
    tenant_cidr: str = "192.168.20.0/24"
    vm_address: str = "192.168.20.5"
    vm_name: str = "vm1"
    published_port: int = 522
    allow_from: str = "auto"  # who may reach the instance and the VM: auto, our own address; CIDR
    ping_address: str = "8.8.8.8"
    bridge: str = "auto"  # auto | openvswitch | linux
    strategy: str = "auto"  # auto | swap | share | mac-nat
    ssh_proxy: str = ""  # on AWS: OpenSSH's ProxyCommand with %h and %p; "": straight
    pay_up_to: Decimal = Decimal(0)  # on AWS: USD for all the planned hours together
    hours: Decimal = Decimal(4)  # planned
    learner: str = ""  # who has this lab, for a table of many: a tag of its instance

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "Decimal":
                object.__setattr__(self, each.name, number(each.name, value))
                continue
            wanted = int if each.type == "int" else str
            if type(value) is not wanted:
                raise BadSetting(
                    f"{each.name} must be {'a number' if wanted is int else 'text'}",
                    seen=f"{value!r}",
                    next=f"{each.name} = {toml(each.default)}",
                )
        if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?", self.name):
            raise BadSetting(
                "a lab's name is 1 to 32 of a-z, 0-9 and -, not - at an end",
                seen=repr(self.name),
                next='name = "lab"',
            )
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise BadSetting(
                    f"{name} is one of {', '.join(map(str, allowed))}",
                    seen=repr(getattr(self, name)),
                    next=f"{name} = {toml(allowed[0])}",
                )
        if not re.fullmatch(r"[\w +=.:/@-]{0,64}", self.learner):  # EC2 guide, "Tag restrictions"
            raise BadSetting(
                "learner is 64 letters, digits, spaces and + - = . _ : / @ at most",
                seen=repr(self.learner),
                next='learner = "ann"',
            )
        if not 0 < self.hours <= MONTH:
            raise BadSetting(
                f"hours is the planned time: more than 0, and {MONTH} at most",
                seen=str(self.hours),
                next='hours = "4"',
            )
        if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-[0-9]+", self.region):
            raise BadSetting(
                "region is no name of an AWS region", seen=repr(self.region), next=AS_REGION
            )
        if self.ssh_proxy and not ("%h" in self.ssh_proxy and "%p" in self.ssh_proxy):
            raise BadSetting(
                "ssh_proxy says where to connect by %h and %p",
                seen=repr(self.ssh_proxy),
                next='ssh_proxy = "ssh -W %h:%p jump.example.org"',
            )
        if self.cloud == "openstack" and (self.debian, self.bridge) not in (
            (13, "auto"),
            (13, "openvswitch"),
        ):
            raise BadSetting(
                "OpenStack is installed on Debian 13, with Open vSwitch",
                seen=f"debian = {self.debian}, bridge = {self.bridge!r}",
                next='debian = 13 and bridge = "auto"',
            )
        for name, what in (("dashboard", "the dashboard"), ("cirros", "CirrOS's image")):
            if getattr(self, name) == "yes" and self.cloud != "openstack":
                raise BadSetting(
                    f"{what} is a part of the real OpenStack",
                    seen=f'{name} = "yes", cloud = {self.cloud!r}',
                    next='cloud = "openstack"',
                )
        if not re.fullmatch(r"[a-z]", self.zone):
            raise BadSetting(
                "zone is the letter of an availability zone",
                seen=repr(self.zone),
                next='zone = "a"',
            )
        if not re.fullmatch(r"[a-z0-9-]+\.[a-z0-9-]+", self.instance_type):
            raise BadSetting(
                "instance_type is no EC2 instance type",
                seen=repr(self.instance_type),
                next='instance_type = "t2.large"',
            )
        if not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9-]{0,14}", self.provider_bridge):
            raise BadSetting(
                "provider_bridge is no name for a Linux interface (at most 15 letters)",
                seen=repr(self.provider_bridge),
                next='provider_bridge = "br-example"',
            )
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,62}", self.vm_name):
            raise BadSetting(
                "vm_name is no host name", seen=repr(self.vm_name), next='vm_name = "vm1"'
            )
        if not 1 <= self.published_port <= 65535 or self.published_port == 22:
            raise BadSetting(
                "published_port is a TCP port other than 22",
                seen=str(self.published_port),
                next="published_port = 522",
            )
        self._networks()

    def _networks(self) -> None:
        vpc = network("vpc_cidr", self.vpc_cidr)
        if not 16 <= vpc.prefixlen <= 28:  # VPC sizes: AWS, "VPC CIDR blocks"
            raise BadSetting(
                "vpc_cidr is between /16 and /28",
                seen=self.vpc_cidr,
                next='vpc_cidr = "172.16.0.0/16"',
            )
        management = network("management_cidr", self.management_cidr)
        provider = network("provider_cidr", self.provider_cidr)
        tenant = network("tenant_cidr", self.tenant_cidr)
        for name, inner in (("management_cidr", management), ("provider_cidr", provider)):
            if not inner.subnet_of(vpc):
                raise BadSetting(
                    f"{name} is outside vpc_cidr",
                    seen=f"{inner} is not in {vpc}",
                    next=f"{name} = {toml(DEFAULTS[name])}",
                )
            if not 16 <= inner.prefixlen <= 28:
                raise BadSetting(
                    f"{name} is between /16 and /28",
                    seen=str(inner),
                    next=f"{name} = {toml(DEFAULTS[name])}",
                )
        if management.overlaps(provider):
            raise BadSetting(
                "management_cidr and provider_cidr overlap",
                seen=f"{management} and {provider}",
                next='provider_cidr = "172.16.20.0/24"',
            )
        if tenant.overlaps(vpc):
            raise BadSetting(
                "tenant_cidr overlaps vpc_cidr",
                seen=f"{tenant} and {vpc}",
                next='tenant_cidr = "192.168.20.0/24"',
            )
        for name, inside in (
            ("management_address", management),
            ("provider_address", provider),
            ("vm_address", tenant),
        ):
            host = address(name, getattr(self, name))
            cidr = name.split("_")[0].replace("vm", "tenant") + "_cidr"
            if host not in inside:
                raise BadSetting(
                    f"{name} is outside {cidr}",
                    seen=f"{host} is not in {inside}",
                    next=f"{name} = {toml(DEFAULTS[name])}",
                )
            # AWS reserves the first four addresses and the last of a subnet ("Subnet sizing").
            if int(host) - int(inside[0]) < (2 if inside is tenant else 4) or host == inside[-1]:
                raise BadSetting(
                    f"{name} is a reserved address of its subnet",
                    seen=f"{host} in {inside}",
                    next=f"{name} = {toml(DEFAULTS[name])}",
                )
        address("ping_address", self.ping_address)
        if self.allow_from != "auto":
            network("allow_from", self.allow_from)

    @property
    def provider_gateway(self) -> str:
        """The VPC's router in the provider subnet: always its first address."""
        return str(IPv4Network(self.provider_cidr)[1])

    @property
    def tenant_gateway(self) -> str:
        """The tenant router's own address in the tenant network."""
        return str(IPv4Network(self.tenant_cidr)[1])


CHOICES: Mapping[str, tuple[Any, ...]] = {
    "target": ("local", "aws", "replay"),
    "cloud": ("handbuilt", "openstack"),
    "dashboard": ("no", "yes"),
    "cirros": ("no", "yes"),
    "debian": (13, 12),
    "image": ("auto", "debian"),
    "bridge": ("auto", "openvswitch", "linux"),
    "strategy": ("auto", "swap", "share", "mac-nat"),
}
MONTH = 744  # hours
AS_REGION = 'region = "us-east-1"'
DEFAULTS: Mapping[str, Any] = {each.name: each.default for each in fields(Settings)}


def toml(value: object) -> str:
    """Write a value as `lab.toml` wants it."""
    return str(value) if isinstance(value, int) else f'"{value}"'


def number(name: str, value: object) -> Decimal:
    """Read a number that is not negative, given as one or as text.

    >>> number("pay_up_to", "1.25")
    Decimal('1.25')
    """
    try:
        found = Decimal(str(value).strip())
    except InvalidOperation:
        found = Decimal("NaN")
    if type(value) not in (int, float, str, Decimal) or not found.is_finite() or found < 0:
        raise BadSetting(
            f"{name} is a number, 0 or more",
            seen=repr(value),
            next=f"{name} = {toml(DEFAULTS[name])}",
        )
    return found


def network(name: str, text: str) -> IPv4Network:
    """Read an IPv4 network or say what a right one looks like."""
    try:
        return IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise BadSetting(
            f"{name} is no IPv4 network",
            seen=f"{text!r}: {error}",
            next=f"{name} = {toml(DEFAULTS[name])}",
        ) from None


def address(name: str, text: str) -> IPv4Address:
    """Read an IPv4 address or say what a right one looks like."""
    try:
        return IPv4Address(text)
    except AddressValueError as error:
        raise BadSetting(
            f"{name} is no IPv4 address",
            seen=f"{text!r}: {error}",
            next=f"{name} = {toml(DEFAULTS[name])}",
        ) from None


def load(
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Make the settings from keywords, environment and `lab.toml`, in this order of strength."""
    values = told(given, environ, folder)
    unknown = sorted(set(values) - set(DEFAULTS))
    if unknown:
        raise BadSetting(
            f"there is no setting {unknown[0]!r}",
            seen=", ".join(unknown),
            next=f"one of: {', '.join(DEFAULTS)}",
        )
    return Settings(**values)


def told(
    given: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Give what somebody has said, without the defaults."""
    environ = os.environ if environ is None else environ
    values = {**_file((folder or Path()) / "lab.toml"), **_environment(environ)}
    values.update({name: value for name, value in given.items() if value is not None})
    return values


def _file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(
            "lab.toml cannot be read", seen=str(error), next="mend or remove lab.toml"
        ) from None


def _environment(environ: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, default in DEFAULTS.items():
        variable = "OSAWSLAB_" + name.upper()
        text = environ.get(variable)
        if text is None:
            continue
        if isinstance(default, int):
            if not text.isdecimal():
                raise BadSetting(
                    f"{variable} must be a number",
                    seen=repr(text),
                    next=f"export {variable}={default}",
                )
            values[name] = int(text)
        else:
            values[name] = text
    return values
