"""Faults in the router: routes, neighbours, forwarding, translation, filters."""

from __future__ import annotations

from osawslab.errors import StepNotReady
from osawslab.faults.fault import Before, Change, Fault, Run
from osawslab.faults.wire import NOTHING, STRANGE

NO_SSH = "the router reaches the internet, and ssh to the VM does not come through"
NO_VM = "the router reaches the internet, and the VM does not"


def rule(b: Before, line: str) -> tuple[str, str, int]:
    """Find a rule as `iptables-save` prints it: its table, its chain, its number there."""
    table, numbers = "", dict[tuple[str, str], int]()
    for each in b.rules:
        if each.startswith("*"):
            table = each[1:]
        elif each.startswith("-A "):
            chain = each.split()[1]
            numbers[table, chain] = numbers.get((table, chain), 0) + 1
            if each == line:
                return table, chain, numbers[table, chain]
    raise StepNotReady("the router has no such rule", seen=line, next="lab.publish_vm()")


def without(b: Before, line: str) -> Change:
    """Remove a rule; it comes back to its place."""
    table, chain, number = rule(b, line)
    rest, iptables = line.split(" ", 2)[2], f"{b.enter} iptables -t {table}"
    return Change(
        (Run(f"{iptables} -D {chain} {rest}"),),
        (Run(f"{iptables} -I {chain} {number} {rest}"),),
        Run(f"! {iptables} -C {chain} {rest} 2>/dev/null"),
    )


def instead(b: Before, line: str, other: str) -> Change:
    """Put another rule in a rule's place."""
    table, chain, number = rule(b, line)
    iptables = f"{b.enter} iptables -t {table}"
    rest, wrong = line.split(" ", 2)[2], other.split(" ", 2)[2]
    return Change(
        (Run(f"{iptables} -R {chain} {number} {wrong}"),),
        (Run(f"{iptables} -R {chain} {number} {rest}"),),
        Run(f"{iptables} -C {chain} {wrong} 2>/dev/null"),
    )


def added(b: Before, table: str, chain: str, rest: str, space: str = "") -> Change:
    """Insert a rule before all others; a table that came with it goes with it, if it is empty."""
    enter = f"ip netns exec {space or b.qr}"
    iptables = f"{enter} iptables -t {table}"
    empty = f"{enter} iptables-save -t {table} | grep -q ^-A"
    gone = f"; {empty} || {enter} nft delete table ip {table} 2>/dev/null || true"
    there = f"*{table}" in b.cloud.host.namespace(space or b.qr).iptables.splitlines()
    return Change(
        (Run(f"{iptables} -I {chain} {rest}"),),
        (Run(f"{iptables} -D {chain} {rest}" + ("" if there else gone)),),
        Run(f"{iptables} -C {chain} {rest} 2>/dev/null"),
    )


def first(b: Before, *words: str) -> str:
    """Find the first rule with all these words. Raises StepNotReady."""
    found = [each for each in b.rules if all(word in each for word in words)]
    if not found:
        raise StepNotReady(
            "the router has no rule for this fault to change", seen=" ".join(words),
            next="lab.publish_vm()",
        )  # fmt: skip
    return found[0]


def snat_missing(b: Before) -> Change:
    """Remove the rule that gives what leaves the gateway's address."""
    return without(b, first(b, f"-o {b.qg} ", "-j SNAT"))


def snat_jump_missing(b: Before) -> Change:
    """Remove the jump to the chain of the source NAT."""
    return without(b, first(b, "-A neutron-postrouting-bottom"))


def snat_wrong(b: Before) -> Change:
    """Translate to an address that is not registered."""
    line = first(b, f"-o {b.qg} ", "-j SNAT")
    own = b.address.split("/")[0]
    return instead(b, line, line.replace(own, f"{own.rpartition('.')[0]}.55"))


def twice(b: Before) -> str:
    """Say whether the VM is published twice: it is reached the other way then."""
    found = [each for each in b.published if "PREROUTING" in each or "-pf-" in each]
    return "the VM is published twice" if len(found) > 1 else ""


def dnat_missing(b: Before) -> Change:
    """Remove the rule that leads into the VM."""
    return without(b, first(b, "PREROUTING", "-j DNAT", b.cloud.settings.vm_address))


def dnat_other_port(b: Before) -> Change:
    """Lead to a port of the VM that nobody listens on."""
    line = first(b, "PREROUTING", "-j DNAT", f"{b.cloud.settings.vm_address}:22")
    return instead(b, line, f"{line}22")


def dnat_other_vm(b: Before) -> Change:
    """Lead to an address that no VM has."""
    vm = b.cloud.settings.vm_address
    line = first(b, "PREROUTING", "-j DNAT", vm)
    return instead(b, line, line.replace(vm, f"{vm.rpartition('.')[0]}.66"))


def forward_drops(b: Before) -> Change:
    """Drop what the router should forward from outside."""
    return added(b, "filter", "FORWARD", f"-i {b.qg} -j DROP")


def port_drops(b: Before) -> Change:
    """Drop the published port before it is translated."""
    return added(b, "raw", "PREROUTING", f"-i {b.qg} -p tcp -m tcp --dport {_port(b)} -j DROP")


def _port(b: Before) -> int:
    return b.cloud.settings.published_port


def nft_drops(b: Before) -> Change:
    """Drop pings and what is forwarded by nftables, which `iptables-save` does not show."""
    return Change(
        (Run(f"{b.enter} nft 'add table inet guard; add chain inet guard way"
             " { type filter hook forward priority 0; }; add rule inet guard way drop'"),),
        (Run(f"{b.enter} nft delete table inet guard"),),
        Run(f"{b.enter} nft list table inet guard 2>/dev/null | grep -q drop"),
        (Run(f"{b.enter} nft delete table inet guard 2>/dev/null || true"),),
    )  # fmt: skip


def forwarding_off(b: Before) -> Change:
    """Have the router forward nothing."""
    name = "net.ipv4.ip_forward"
    return Change(
        (Run(f"{b.enter} sysctl -qw {name}=0"),),
        (Run(f"{b.enter} sysctl -qw {name}=1"),),
        Run(f'[ "$({b.enter} sysctl -n {name})" = 0 ]'),
    )


def no_default_route(b: Before) -> Change:
    """Remove the router's default route."""
    return Change(
        (Run(f"ip -n {b.qr} route del default"),),
        (Run(b.default),),
        Run(f'[ -z "$(ip -n {b.qr} route show default)" ]'),
    )


def other_default_route(b: Before) -> Change:
    """Lead the router's default route to an address that nobody has."""
    via = f"{b.address.rpartition('.')[0]}.9"
    return Change(
        (Run(f"ip -n {b.qr} route replace default via {via} dev {b.qg}"),),
        (Run(b.default),),
        Run(f"ip -n {b.qr} route show default | grep -q 'via {via} '"),
    )


def blackhole(b: Before) -> Change:
    """Have a rule send what the tenant network's VMs send into a black hole."""
    net = b.cloud.settings.tenant_cidr
    return Change(
        (Run(f"ip -n {b.qr} rule add pref 100 from {net} blackhole"),),
        (Run(f"ip -n {b.qr} rule del pref 100"),),
        Run(f"ip -n {b.qr} rule show pref 100 | grep -q blackhole"),
    )


def neighbour_fixed(b: Before) -> Change:
    """Enter a MAC for the VPC's router that it does not have, for ever."""
    via, enter = b.cloud.settings.provider_gateway, f"ip -n {b.qr} neigh"
    return Change(
        (Run(f"{enter} replace {via} lladdr {STRANGE} nud permanent dev {b.qg}"),),
        (Run(f"{enter} del {via} dev {b.qg}"),),
        Run(f"{enter} show {via} dev {b.qg} | grep -q PERMANENT"),
    )


PORT, NAT, INTO, FILTER = (frozenset({e}) for e in ("gateway", "snat", "dnat", "filter"))
FAULTS = (
    Fault("no-default-route", "default-route", NOTHING, "easy", no_default_route, touches=PORT),
    Fault("other-default-route", "default-route", NOTHING, "medium", other_default_route,
          touches=PORT),
    Fault("blackhole", "policy", NO_VM, "hard", blackhole, touches=frozenset({"policy"})),
    Fault("neighbour-fixed", "fixed-neighbour", NOTHING, "hard", neighbour_fixed,
          touches=PORT | frozenset({"mac"})),
    Fault("forwarding-off", "forwarding", NO_VM, "medium", forwarding_off,
          touches=frozenset({"forwarding", "policy"})),
    Fault("snat-missing", "snat", NO_VM, "medium", snat_missing, touches=NAT),
    Fault("snat-jump-missing", "snat", NO_VM, "hard", snat_jump_missing, touches=NAT),
    Fault("snat-wrong", "snat", NO_VM, "hard", snat_wrong, touches=NAT),
    Fault("dnat-missing", "dnat", NO_SSH, "easy", dnat_missing,
          touches=INTO | frozenset({"publishing"}), unless=twice),
    Fault("dnat-other-port", "dnat", NO_SSH, "medium", dnat_other_port, ("handbuilt",),
          touches=INTO),  # on which port a real VM listens cannot be seen from outside
    Fault("dnat-other-vm", "dnat", NO_SSH, "medium", dnat_other_vm, touches=INTO),
    Fault("forward-drops", "filter", NO_SSH, "medium", forward_drops, touches=FILTER),
    Fault("port-drops", "filter", NO_SSH, "hard", port_drops, touches=FILTER | INTO),
    Fault("nft-drops", "nft", NO_VM, "hard", nft_drops, ("handbuilt",), touches=FILTER),
)  # fmt: skip
