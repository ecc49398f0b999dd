"""What a Linux host is like: links, namespaces, bridges, programs, files."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from osawslab.host import probe

if TYPE_CHECKING:
    from osawslab.host.ssh import SshHost


@dataclass(frozen=True)
class Link:
    """A network interface of a namespace."""

    name: str
    mac: str
    up: bool
    alias: str
    addresses: tuple[str, ...]  # IPv4 with prefix length: 172.16.20.101/24
    mtu: int
    kind: str  # "veth", "bridge", "tun", …; "" for a real NIC
    master: str
    permanent_mac: str  # "" where the driver knows none
    index: int = field(default=0, compare=False)  # another after it was detached and attached
    driver: str = ""  # of one of the host's own interfaces; "" where it has none, as a veth


@dataclass(frozen=True)
class Namespace:
    """Links by name, routes as `ip -j route` gives them, the firewall as iptables-save does."""

    links: Mapping[str, Link]
    routes: tuple[Mapping[str, Any], ...]
    iptables: str = ""
    forwards: bool = False
    listens: bool = False  # an SSH server listens there

    def has_default(self, gateway: str, device: str) -> bool:
        """Say whether the default route leads to a gateway by a device."""
        return any(
            route.get("dst") == "default"
            and route.get("gateway") == gateway
            and route.get("dev") == device
            for route in self.routes
        )


@dataclass(frozen=True)
class Bridge:
    """An Open vSwitch bridge: ports with their VLAN tag (0: none), flows as text."""

    ports: Mapping[str, int]
    datapath: str  # "netdev" is the one in user space
    flows: tuple[str, ...]


@dataclass(frozen=True)
class HostFacts:
    """Everything one round trip told."""

    programs: Mapping[str, str]  # program -> path, "" where it is missing
    files: Mapping[str, str | None]
    netns: tuple[str, ...]
    namespaces: Mapping[str, Namespace]  # "" is the host's own
    fdb: tuple[Mapping[str, Any], ...]  # as `bridge -j fdb` gives it
    bridges: Mapping[str, Bridge] | None  # of Open vSwitch; None where it does not run
    port_types: Mapping[str, str]
    peers: Mapping[str, str]  # of the ends of patch cables
    openvswitch_module: bool
    tun: bool  # /dev/net/tun opens: the datapath in user space needs it
    systemd: bool
    dpkg: bool
    netplan: bool
    ifupdown: bool
    cloud_init: bool
    ec2_net_utils: bool
    # What `read(learned=True)` told besides, as the tools print it: "neighbours" by namespace,
    # "switches" (Open vSwitch's forwarding tables) by bridge, and "ofports", its ports' numbers.
    learned: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def root(self) -> Namespace:
        """The host's own namespace."""
        return self.namespaces[""]

    def forwards_locally(self, mac: str, port: str) -> bool:
        """Say whether a Linux bridge keeps the frames for a port's own MAC to the host."""
        return any(
            entry["mac"] == mac
            and entry["ifname"] == port
            and entry.get("master")
            and entry.get("state") == "permanent"
            for entry in self.fdb
        )

    def forwards_to(self, mac: str, port: str) -> bool:
        """Say whether a Linux bridge has a static entry that leads a MAC to a port."""
        return any(
            entry["mac"] == mac and entry["ifname"] == port and entry.get("state") == "static"
            for entry in self.fdb
        )

    def namespace(self, name: str) -> Namespace:
        """Give a namespace; an empty one where it does not exist."""
        return self.namespaces.get(name, Namespace({}, ()))


def read(
    host: SshHost,
    *,
    netns: Sequence[str] = (),
    programs: Sequence[str] = (),
    files: Sequence[str] = (),
    bridges: Sequence[str] = (),
    learned: bool = False,
) -> HostFacts:
    """Read the facts asked for, in one SSH round trip. Raises StepFailed, CannotReach."""
    given = {
        "netns": list(netns),
        "programs": list(programs),
        "files": list(files),
        "bridges": list(bridges),
        "learned": learned,
    }
    return parse(host.script(inspect.getsource(probe), **given))


def parse(told: Mapping[str, Any]) -> HostFacts:
    """Read the probe's answer."""
    switch = told["openvswitch"]
    return HostFacts(
        programs=told["programs"],
        files=told["files"],
        netns=tuple(told["netns"]),
        namespaces={
            name: Namespace(
                {
                    link["ifname"]: _link(link, {} if name else told.get("drivers", {}))
                    for link in found["links"]
                    if link
                },
                tuple(found["routes"]),
                found.get("iptables", ""),
                found.get("forward", "").strip() == "1",
                bool(found.get("listening", "").strip()),
            )
            for name, found in told["namespaces"].items()
        },
        fdb=tuple(told["fdb"]),
        bridges=None
        if switch is None
        else {
            name: Bridge(found["ports"], found["datapath"], tuple(found["flows"]))
            for name, found in switch["bridges"].items()
        },
        port_types={} if switch is None else switch["types"],
        peers={} if switch is None else switch.get("peers", {}),
        openvswitch_module=told["openvswitch_module"],
        tun=told["tun"],
        systemd=told["systemd"],
        dpkg=told["dpkg"],
        netplan=told["netplan"],
        ifupdown=told["ifupdown"],
        cloud_init=told["cloud_init"],
        ec2_net_utils=told["ec2_net_utils"],
        learned=told.get("learned", {}),
    )


def _link(found: Mapping[str, Any], drivers: Mapping[str, str]) -> Link:
    return Link(
        name=found["ifname"],
        mac=found.get("address", ""),
        up="UP" in found.get("flags", []),
        alias=found.get("ifalias", ""),
        addresses=tuple(
            f"{each['local']}/{each['prefixlen']}"
            for each in found.get("addr_info", [])
            if each["family"] == "inet"
        ),
        mtu=int(found.get("mtu", 0)),
        kind=found.get("linkinfo", {}).get("info_kind", ""),
        master=found.get("master", ""),
        permanent_mac=found.get("permaddr", ""),
        index=int(found.get("ifindex", 0)),
        driver=drivers.get(found["ifname"], ""),
    )
