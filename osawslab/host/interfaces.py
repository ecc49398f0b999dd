"""What a host's own network system reads about the provider NIC: up, and without an address.

The stanza is the OpenStack install guide's ("environment-networking", networking guide); its
twins for systemd-networkd (systemd.network(5)) and netplan (netplan YAML reference) say the
same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IFUPDOWN = "/etc/network/interfaces.d/osawslab-provider"
NETWORKD = "/etc/systemd/network/05-osawslab-provider.network"
NETPLAN = "/etc/netplan/95-osawslab-provider.yaml"
HOTPLUG = "/etc/cloud/cloud.cfg.d/99-osawslab-no-hotplug.cfg"
PATHS = (IFUPDOWN, NETWORKD, NETPLAN, HOTPLUG)


@dataclass(frozen=True)
class Wanted:
    """A file, what it says, and why."""

    path: str
    text: str
    why: str


def ifupdown(nic: str) -> str:
    """Write the stanza of /etc/network/interfaces.

    >>> print(ifupdown("eth1"), end="")
    auto eth1
    iface eth1 inet manual
        up ip link set dev $IFACE up
        down ip link set dev $IFACE down
    """
    return (
        f"auto {nic}\niface {nic} inet manual\n"
        "    up ip link set dev $IFACE up\n    down ip link set dev $IFACE down\n"
    )


def networkd(mac: str) -> str:
    """Write the .network file; it finds the NIC by the MAC that its driver keeps."""
    return (
        f"[Match]\nPermanentMACAddress={mac}\n\n[Link]\nRequiredForOnline=no\n\n"
        "[Network]\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )


def netplan(nic: str, mac: str) -> str:
    """Write the netplan file."""
    return (
        "network:\n  version: 2\n  ethernets:\n"
        f'    {nic}:\n      match:\n        macaddress: "{mac}"\n'
        "      dhcp4: false\n      dhcp6: false\n      accept-ra: false\n"
        "      link-local: []\n      optional: true\n"
    )


def wanted(
    nic: str,
    mac: str,
    *,
    has_ifupdown: bool,
    has_networkd: bool,
    has_netplan: bool,
    has_cloud_init: bool,
) -> list[Wanted]:
    """List the files for the network systems that this host has."""
    files: list[Wanted] = []
    if has_ifupdown:
        files.append(Wanted(IFUPDOWN, ifupdown(nic), "ifupdown brings it up without an address"))
    if has_netplan:
        files.append(Wanted(NETPLAN, netplan(nic, mac), "netplan gives it no address"))
    if has_networkd:
        files.append(Wanted(NETWORKD, networkd(mac), "systemd-networkd gives it no address"))
    if has_cloud_init:
        # cloud-init >= 24.1 configures hot-plugged NICs on EC2 (cloud-init pull request 4799)
        text = "updates: {network: {when: []}}\n"
        files.append(Wanted(HOTPLUG, text, "cloud-init leaves a NIC that appears alone"))
    return files


def lacking(files: list[Wanted], found: Mapping[str, str | None]) -> list[Wanted]:
    """Keep the files that are not there or say something else."""
    return [each for each in files if found.get(each.path) != each.text]
