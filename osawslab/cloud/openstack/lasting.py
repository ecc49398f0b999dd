"""What makes the way to a VM of the real OpenStack last: in Neutron, and in units of systemd.

Neutron makes the router anew by itself, with the MAC in its own database, and so its own port
forwarding. Three things are nobody's: the provider NIC's note and other MAC, after a boot, the TAP
devices that are dead when Open vSwitch in user space has been restarted, and `mac-nat`'s flows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import ALIAS, FOLDER, LASTING, Cloud
from osawslab.cloud.names import Names
from osawslab.cloud.openstack.making import Deed
from osawslab.cloud.openstack.project import EXTERNAL, Project, vm_port
from osawslab.errors import LabTimeout, StepNotReady
from osawslab.settings import Settings

GATEWAY = "network:router_gateway"
# Neutron changes no MAC of a port whose owner is `network:…`, nor of a bound one
# (neutron/db/db_base_plugin_v2.py `_check_mac_addr_update`, plugins/ml2/plugin.py): for a moment
# the port is nobody's.
MEANWHILE = "compute:osawslab"
WIRED_SECONDS = 60.0  # until both agents have made the port anew, on a busy machine
NIC, TAPS = LASTING[1], f"{FOLDER}/dead-taps"
UNITS = "/etc/systemd/system"
NIC_UNIT, TAPS_UNIT = "osawslab-provider-nic.service", "osawslab-dead-taps.service"
FLOWS, FLOWS_UNIT = f"{FOLDER}/mac-nat.flows", "osawslab-mac-nat.service"
# path -> why, and its mode
PATHS = {
    NIC: ("what the provider NIC needs after a boot", 700),
    TAPS: ("what Open vSwitch leaves dead", 700),
    f"{UNITS}/{NIC_UNIT}": ("systemd does the one at boot", 644),
    f"{UNITS}/{TAPS_UNIT}": ("and the other after each start of ovs-vswitchd", 644),
    FLOWS: ("the flows that translate MACs, which Open vSwitch forgets", 644),
    f"{UNITS}/{FLOWS_UNIT}": ("systemd loads them after each start of ovs-vswitchd", 644),
}
OURS = "osawslab make_it_last"  # the description of the floating IP


def second_address(settings: Settings) -> str:
    """Give the address that port forwarding has: the one after the router's, or before it.

    >>> second_address(Settings())
    '172.16.20.102'
    """
    first, last = IPv4Address(settings.provider_address), IPv4Network(settings.provider_cidr)[-1]
    return str(first + 1 if first + 1 < last else first - 1)


def require_plain(router: Any) -> None:
    """Refuse a router that has more than one gateway port, each with a MAC of its own."""
    kinds = [
        kind
        for kind, is_so in (
            ("distributed (DVR)", router.is_distributed),
            ("highly available (HA)", router.is_ha),
        )
        if is_so
    ]
    if kinds:
        raise StepNotReady(
            "only a router with one gateway port can share the provider NIC's MAC",
            seen=f"{router.name} is {' and '.join(kinds)}",
            next=f"openstack router set --disable {router.name};"
            f" openstack router set --centralized --no-ha --enable {router.name}",
        )


def port_of_gateway(cloud: Any, found: Project) -> Any:
    """Find the gateway port, also where a run was cut off while it was nobody's."""
    if found.gateway or not found.router:
        return found.gateway
    ports = cloud.network.ports(device_id=found.router.id)
    return next((each for each in ports if each.device_owner == MEANWHILE), None)


def settled(port: Any, mac: str) -> bool:
    """Say whether the gateway port has a MAC, its owner and its host: `give_mac` is done."""
    return bool(port.mac_address == mac and port.device_owner == GATEWAY and port.binding_host_id)


def give_mac(cloud: Any, port: Any, mac: str, host: str) -> Deed:
    """Change the gateway port's MAC in Neutron's database, whichever of these steps is done."""
    steps: tuple[tuple[str, dict[str, str]], ...] = (
        ("unset --host", {"binding:host_id": ""}),
        (f"set --device-owner {MEANWHILE}", {"device_owner": MEANWHILE}),
        (f"set --mac-address {mac}", {"mac_address": mac}),
        (f"set --device-owner {GATEWAY}", {"device_owner": GATEWAY}),
        (f"set --host {host}", {"binding:host_id": host}),
    )

    def do() -> None:
        from openstack.exceptions import raise_from_response

        for _, change in steps:
            body = {"port": change}
            raise_from_response(cloud.network.put(f"/ports/{port.id}", json=body))
        deadline = time.monotonic() + WIRED_SECONDS
        while (status := cloud.network.get_port(port.id).status) != "ACTIVE":
            if time.monotonic() > deadline:
                raise LabTimeout(
                    "Neutron's agents do not take the gateway port up again",
                    seen=f"{status} after {WIRED_SECONDS:.0f} s",
                    next='lab.check("install_cloud")',
                )
            time.sleep(0.5)

    words = "; ".join(f"openstack port {each} {port.id}" for each, _ in steps)
    return Deed("Neutron makes the gateway port with the registered MAC from now on", words, do)


def floating(cloud: Any, settings: Settings) -> tuple[Any, Any]:
    """Find our floating IP at the second address, and its port forwarding; None for none."""
    found = _at_second(cloud, settings)
    if found is None or found.description != OURS:
        return None, None
    for each in cloud.network.port_forwardings(found.id):
        same = (each.external_port, each.internal_ip_address, each.internal_port, each.protocol)
        if same == (settings.published_port, settings.vm_address, 22, "tcp"):
            return found, each
    return found, None


def stranger(cloud: Any, settings: Settings) -> str:
    """Name another's floating IP at the second address; "" for none."""
    found = _at_second(cloud, settings)
    return "" if found is None or found.description == OURS else f"Neutron's floating IP {found.id}"


def _at_second(cloud: Any, settings: Settings) -> Any:
    return next(iter(cloud.network.ips(floating_ip_address=second_address(settings))), None)


def forward(
    cloud: Any, settings: Settings, found: Project, have: tuple[Any, Any]
) -> Iterator[Deed]:
    """List what is missing of the port forwarding."""
    address, made = second_address(settings), {"floating": have[0]}

    def allocate() -> None:
        made["floating"] = cloud.network.create_ip(
            floating_network_id=found.external.id, floating_ip_address=address, description=OURS
        )

    def lead() -> None:
        cloud.network.create_port_forwarding(
            floatingip_id=made["floating"].id,
            internal_port_id=found.port.id,
            internal_ip_address=settings.vm_address,
            internal_port=22,
            external_port=settings.published_port,
            protocol="tcp",
        )

    if have[0] is None:
        words = f"openstack floating ip create --floating-ip-address {address}"
        words += f" --description '{OURS}' {EXTERNAL}"
        yield Deed("a floating IP: the registered address that nobody has yet", words, allocate)
    if have[1] is None:
        words = (
            f"openstack floating ip port forwarding create --port {vm_port(settings)}"
            f" --internal-ip-address {settings.vm_address} --internal-protocol-port 22"
            f" --external-protocol-port {settings.published_port} --protocol tcp {address}"
        )
        yield Deed("Neutron's own port forwarding, in place of the rule made by hand", words, lead)


def unforward(cloud: Any, have: tuple[Any, Any]) -> Iterator[Deed]:
    """List how the port forwarding goes again."""
    address, rule = have
    if rule is not None:
        words = f"openstack floating ip port forwarding delete {address.id} {rule.id}"
        yield Deed(
            "no port forwarding",
            words,
            lambda: cloud.network.delete_port_forwarding(rule, address.id),
        )
    if address is not None:
        words = f"openstack floating ip delete {address.id}"
        yield Deed("no floating IP", words, lambda: cloud.network.delete_ip(address))


def swap(names: Names) -> str:
    """Give the command that gives the NIC its other MAC."""
    return (
        f'ip link set "$nic" down; ip link set "$nic" address {names.other_mac} || failed=1;'
        ' ip link set "$nic" up'
    )


STRATEGIES: Mapping[str, Callable[[Names], str]] = {
    "swap": swap,
    "share": lambda names: ":",
    "mac-nat": lambda names: ":",
}


def flows(cloud: Cloud, pairs: Iterable[tuple[str, str]]) -> str:
    """Write the flows of (address, MAC) pairs, and of the address that port forwarding has."""
    second = (second_address(cloud.settings), cloud.names.gateway_mac)
    return mac_nat.text(mac_nat.wanted(cloud, {*pairs, second}))


def units(paths: Container[str]) -> tuple[str, ...]:
    """Name the units of which there is a file."""
    return tuple(each for each in (NIC_UNIT, TAPS_UNIT, FLOWS_UNIT) if f"{UNITS}/{each}" in paths)


def files(names: Names, bridge: str, mac: str, strategy: str, flows: str = "") -> dict[str, str]:
    """Write the programs and units, by path; `flows` for `mac-nat`, as a file has them."""
    nic = f"""#!/bin/sh
# After a boot: the note on the provider NIC, and what the MAC swap ({strategy}) needs of it.
mac={mac} strategy={strategy} failed=
ip -o link show | grep -q "alias {ALIAS}$mac" && exit 0
nic=$(ip -o link show | grep "link/ether $mac " | cut -d : -f 2 | cut -d @ -f 1 | tr -d ' ' \\
  | grep -v -e ^qg- -e ^qr- -e ^tap -e '^{bridge}$' -e '^{names.translator}$' | head -n 1)
[ -n "$nic" ] || {{ echo "no interface has $mac: nothing is done"; exit 1; }}
{STRATEGIES[strategy](names)}
[ -z "$failed" ] || {{ echo "$nic takes no other MAC: nothing more is done"; exit 1; }}
ip link set "$nic" up
ip link set "$nic" alias "{ALIAS}$mac"
echo "$nic has its note, and the MAC that {strategy} gives it"
"""
    taps = """#!/bin/sh
# After Open vSwitch's start: ports of Neutron's whose other end was in the process that ended.
# The agents that made them make them anew, once they are gone.
again=
for netns in $(ip netns list | cut -d ' ' -f 1); do
  for port in $(ip -n "$netns" -o link show | cut -d : -f 2 | cut -d @ -f 1); do
    case $port in qg-*|qr-*|tap*) ;; *) continue ;; esac
    ip link show "$port" > /dev/null 2>&1 || continue  # no other one was made: it lives
    echo "$port in $netns is dead"
    ip -n "$netns" link del "$port"
    ovs-vsctl --timeout=10 --if-exists del-port "$port"
    case $netns in
      qdhcp-*) again="$again neutron-dhcp-agent" ;;
      *) again="$again neutron-l3-agent" ;;
    esac
  done
done
[ -z "$again" ] || { echo "starting anew:$again"; systemctl --no-block restart $again; }
"""
    nic_unit = f"""[Unit]
Description=The provider NIC of the lab after a boot
After=network-pre.target
Before=ovs-vswitchd.service
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={NIC}

[Install]
WantedBy=multi-user.target
"""
    taps_unit = f"""[Unit]
Description=Ports that Open vSwitch has left dead, when it is started anew
After=ovs-vswitchd.service
PartOf=ovs-vswitchd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={TAPS}

[Install]
WantedBy=ovs-vswitchd.service
"""
    flows_unit = f"""[Unit]
Description=The flows that translate MACs, when Open vSwitch is started anew
After=ovs-vswitchd.service
PartOf=ovs-vswitchd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ovs-ofctl add-flows {names.translator} {FLOWS}

[Install]
WantedBy=ovs-vswitchd.service
"""
    found = dict(zip(PATHS, (nic, taps, nic_unit, taps_unit, flows, flows_unit), strict=True))
    return found if strategy == "mac-nat" else {path: found[path] for path in [*PATHS][:4]}
