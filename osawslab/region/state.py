"""What EC2 says exists: the input of the region's network and instances. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rule:
    """One permission of a security group: `protocol` "tcp", "udp", "icmp" or "-1" (all)."""

    protocol: str
    from_port: int  # tcp and udp: 0..65535; otherwise -1
    to_port: int
    cidr: str  # IPv4 network; a peer group is given as one Rule per /32 address of its members


@dataclass(frozen=True)
class Group:
    """A security group with its rules."""

    id: str
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]
    name: str = ""


@dataclass(frozen=True)
class Entry:
    """One rule of a network ACL; `protocol` as a Rule's, or another protocol's number."""

    egress: bool
    allow: bool
    protocol: str
    from_port: int  # tcp and udp: 0..65535; icmp: the type, or -1 for all; otherwise -1
    to_port: int  # icmp: the code, or -1 for all
    cidr: str  # IPv4 network of the peer


@dataclass(frozen=True)
class Subnet:
    """A subnet; `internet` is true where its route table leads 0.0.0.0/0 to an attached IGW."""

    id: str
    vpc: str
    cidr: str
    internet: bool
    vpc_cidr: str = ""
    acl: tuple[Entry, ...] = ()  # in the order in which they are tried; empty: all may pass


@dataclass(frozen=True)
class Eni:
    """A network interface that is attached to an instance."""

    id: str
    mac: str  # the registered MAC
    addresses: tuple[str, ...]  # the registered private IPv4 addresses, primary first
    subnet: str
    instance: str
    device_index: int
    source_dest_check: bool
    groups: tuple[str, ...]
    eips: Mapping[str, str]  # private address -> Elastic (or automatic public) address


@dataclass(frozen=True)
class About:
    """What an instance's metadata says, and how it may be asked for (its MetadataOptions)."""

    ami: str = ""
    zone: str = ""
    key_name: str = ""
    reservation: str = ""
    launched: str = ""  # UTC, ISO 8601 with Z
    tokens: bool = False  # HttpTokens is "required"
    hops: int = 1  # HttpPutResponseHopLimit
    endpoint: bool = True  # HttpEndpoint is "enabled"


@dataclass(frozen=True)
class Instance:
    """An instance that is not terminated."""

    id: str
    running: bool
    boots: int  # grows by one with each start and reboot
    type: str  # "t2.large", …
    image: str  # the AMI's name
    public_key: str  # OpenSSH line of its key pair, or ""
    user_data: bytes
    about: About = About()


@dataclass(frozen=True)
class Image:
    """An image that the account made of an instance."""

    id: str
    name: str
    description: str
    tags: Mapping[str, str]
    architecture: str
    root_device: str
    created: str  # UTC, ISO 8601
    source: str  # the instance's id; "" for one that another lab made
    copied: bool = False  # the instance was not stopped for it


@dataclass(frozen=True)
class State:
    """Everything that the network and the instances follow from."""

    subnets: Mapping[str, Subnet]
    enis: Mapping[str, Eni]
    groups: Mapping[str, Group]
    instances: Mapping[str, Instance]
    images: Mapping[str, Image] = field(default_factory=dict)  # by name: made of these instances
