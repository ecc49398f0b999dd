"""The tenant router as Neutron's L3 agent leaves it: namespace, two ports, route, SNAT.

Names of chains and rules: `neutron/agent/l3/router_info.py`, `agent/linux/iptables_manager.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network

from osawslab.cloud.handbuilt import MTU, PROVIDER_VLAN, TENANT_VLAN, Cloud, Want
from osawslab.host.facts import Link


def port(cloud: Cloud, name: str, mac: str, address: str, tag: int, why: str) -> Iterator[Want]:
    """Want a port of the router: made, in its namespace, with MAC, address and MTU, up."""
    netns, host = cloud.names.router_netns, cloud.host
    inside = cloud.router.links.get(name)
    enter = f"ip -n {netns}"
    if cloud.uses_openvswitch:
        bridge = cloud.bridge(cloud.names.integration)
        yield Want(
            bridge is not None
            and bridge.ports.get(name) == tag
            and host.port_types.get(name) == "internal",
            why,
            f"ovs-vsctl --may-exist add-port {cloud.names.integration} {name}"
            f" -- set port {name} tag={tag} -- set interface {name} type=internal",
        )
        yield Want(
            inside is not None, f"{name} belongs to the router", f"ip link set {name} netns {netns}"
        )
    else:
        outer = "tap" + name[3:]
        bridge_name = (
            cloud.settings.provider_bridge if tag == PROVIDER_VLAN else cloud.names.integration
        )
        link = host.root.links.get(outer)
        yield Want(
            inside is not None and link is not None,
            why,
            f"ip link add {outer} type veth peer name {name} netns {netns}",
        )
        yield Want(
            link is not None and link.master == bridge_name and link.up,
            f"{name} is plugged into {bridge_name}",
            f"ip link set {outer} master {bridge_name} up",
        )
    has = inside or Link(name, "", False, "", (), 0, "", "", "")
    yield Want(
        has.mac in (mac, cloud.registered_mac) if name == cloud.names.gateway else has.mac == mac,
        f"the MAC that Neutron gives {name}",
        f"{enter} link set {name} address {mac}",
    )
    yield Want(
        has.mtu == MTU, "no larger than the gateway forwards", f"{enter} link set {name} mtu {MTU}"
    )
    wrong = strangers(has, address)
    for each in wrong:
        yield Want(False, f"not {name}'s own address", f"{enter} addr del {each} dev {name}")
    yield Want(
        address in has.addresses and not wrong,
        f"{name}'s address",
        f"{enter} addr replace {address} dev {name}",
    )
    yield Want(has.up, f"{name} is up", f"{enter} link set {name} up")


def strangers(link: Link, address: str) -> list[str]:
    """List the addresses of a port that are neither its own nor a floating IP's."""
    return [each for each in link.addresses if each != address and not each.endswith("/32")]


def wants(cloud: Cloud) -> Iterator[Want]:
    """Want the router: namespace, two ports, default route, forwarding, SNAT."""
    called, settings = cloud.names, cloud.settings
    netns = called.router_netns
    yield Want(
        netns in cloud.host.netns, "the router is a network namespace", f"ip netns add {netns}"
    )
    lo = cloud.router.links.get("lo")
    yield Want(lo is not None and lo.up, "its loopback", f"ip -n {netns} link set lo up")
    yield Want(
        cloud.router.forwards,
        "it routes",
        f"ip netns exec {netns} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'",
    )
    provider = IPv4Network(settings.provider_cidr).prefixlen
    tenant = IPv4Network(settings.tenant_cidr).prefixlen
    gate, own = cloud.gateway, f"{settings.provider_address}/{provider}"
    yield from port(
        cloud, called.gateway, called.gateway_mac, own,
        PROVIDER_VLAN, "the gateway port: it takes the registered IP that the NIC does not use",
    )  # fmt: skip
    yield from port(
        cloud, called.inner, called.inner_mac, f"{settings.tenant_gateway}/{tenant}",
        TENANT_VLAN, "the router's port in the tenant network",
    )  # fmt: skip
    yield Want(  # it goes with a wrong address
        cloud.router.has_default(settings.provider_gateway, called.gateway)
        and not (gate and strangers(gate, own)),
        "everything else goes to the VPC's router",
        f"ip -n {netns} route replace default via {settings.provider_gateway} dev {called.gateway}",
    )
    yield Want(
        all(line in cloud.router.iptables.splitlines() for line in chains(cloud)),
        "the chains of neutron-l3-agent: what leaves has the gateway's address",
        f"ip netns exec {netns} iptables-restore <<'END'\n{restore(cloud)}END",
    )


def published(cloud: Cloud) -> str:
    """Give the tutorial's rule that leads to the VM, as `iptables-save` prints it."""
    settings = cloud.settings
    return (
        f"-A PREROUTING -d {settings.provider_address}/32 -p tcp -m tcp"
        f" --dport {settings.published_port} -j DNAT --to-destination {settings.vm_address}:22"
    )


def chains(cloud: Cloud) -> list[str]:
    """List the rules of the router as `iptables-save` prints them, in its order."""
    gateway, address = cloud.names.gateway, cloud.settings.provider_address
    agent = "neutron-l3-agent"
    return [
        f"-A PREROUTING -j {agent}-PREROUTING",
        f"-A OUTPUT -j {agent}-OUTPUT",
        f"-A POSTROUTING -j {agent}-POSTROUTING",
        "-A POSTROUTING -j neutron-postrouting-bottom",
        f"-A {agent}-POSTROUTING ! -o {gateway} -m conntrack ! --ctstate DNAT -j ACCEPT",
        f"-A {agent}-snat -j {agent}-float-snat",
        f"-A {agent}-snat -o {gateway} -j SNAT --to-source {address} --random-fully",
        f"-A {agent}-snat -m mark ! --mark 0x2/0xffff -m conntrack --ctstate DNAT -j SNAT"
        f" --to-source {address} --random-fully",
        "-A neutron-postrouting-bottom -m comment"
        f' --comment "Perform source NAT on outgoing traffic." -j {agent}-snat',
        f"-A PREROUTING -j {agent}-mark",
        f"-A {agent}-mark -i {gateway} -j MARK --set-xmark 0x2/0xffff",
    ]


def restore(cloud: Cloud) -> str:
    """Write the input of `iptables-restore`: both tables anew; DNAT and floating IPs stay."""
    rules = chains(cloud)
    agent = "neutron-l3-agent"
    nat = "".join(
        f":{agent}-{name} - [0:0]\n"
        for name in ("OUTPUT", "POSTROUTING", "PREROUTING", "float-snat", "snat")
    )
    floating = f"-A {agent}-float-snat "
    kept = [
        line
        for line in cloud.router.iptables.splitlines()
        if "-j DNAT" in line or line.startswith(floating)
    ]
    return (
        "*nat\n"
        + nat
        + ":neutron-postrouting-bottom - [0:0]\n"
        + "\n".join([*rules[:9], *kept])
        + "\nCOMMIT\n*mangle\n"
        + f":{agent}-mark - [0:0]\n"
        + "\n".join(rules[9:])
        + "\nCOMMIT\n"
    )
