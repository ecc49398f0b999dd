"""MACs stay, and OpenFlow rules on an own bridge translate them: several routers and addresses."""

from __future__ import annotations

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import Cloud, Want, datapath
from osawslab.cloud.mac_nat import FAR, NEAR, NEAR_PORT, NIC_PORT
from osawslab.errors import Refused
from osawslab.report import Check
from osawslab.steps.strategies import gateway
from osawslab.steps.strategies.choice import Seen


def _able(facts: Seen) -> None:
    """Raise Refused on a Linux bridge, and where a router has an address that the ENI has not."""
    cloud = facts.cloud
    if not cloud.uses_openvswitch:
        raise Refused(
            "mac-nat rewrites ARP by OpenFlow, which a Linux bridge has not",
            seen=cloud.no_openvswitch or 'bridge = "linux"',
            next='strategy = "share" (or bridge = "openvswitch", in a lab of its own)',
        )
    wrong = [a for a, _ in mac_nat.addresses(cloud) if a not in facts.registered]
    if wrong:
        raise Refused(
            f"the provider ENI does not have the address {wrong[0]}, so AWS drops what has it",
            seen=f"registered: {', '.join(facts.registered)}",
            next=f"ip netns exec ROUTER ip addr del {wrong[0]} dev qg-…; or have it registered:"
            f" aws ec2 assign-private-ip-addresses --private-ip-addresses {wrong[0]}",
        )


def wants(facts: Seen) -> list[Want]:
    """Want the own bridge with NIC, patch cable and exactly its flows. Raises Refused."""
    _able(facts)
    cloud = facts.cloud
    nic, own = cloud.require_provider_nic().name, cloud.names.translator
    bridge, provider = cloud.bridge(own), cloud.settings.provider_bridge
    kind = f" {datapath(cloud)}" if datapath(cloud) else ""
    found = [
        Want(
            bridge is not None,
            "an own bridge, of which Neutron knows nothing: it drops what no rule lets pass",
            f"ovs-vsctl --may-exist add-br {own} -- set bridge {own} fail_mode=secure{kind}",
        ),
        Want(
            bridge is not None and nic in bridge.ports,
            "the NIC moves to it",
            f"ovs-vsctl --if-exists del-port {provider} {nic} -- --may-exist add-port {own} {nic}"
            f" -- set interface {nic} ofport_request={NIC_PORT}",
        ),
        Want(
            _cable(cloud),
            "a patch cable from it to the provider bridge",
            f"ovs-vsctl --may-exist add-port {own} {NEAR} -- set interface {NEAR} type=patch"
            f" options:peer={FAR} ofport_request={NEAR_PORT}"
            f" -- --may-exist add-port {provider} {FAR} -- set interface {FAR} type=patch"
            f" options:peer={NEAR}",
        ),
    ]
    wanted, have = _flows(cloud)
    keys = {flow.key for flow in wanted}
    matches = {flow.key[0] for flow in wanted}
    found += [
        Want(
            False, "a rule of an earlier time", f"ovs-ofctl --strict del-flows {own} '{flow.match}'"
        )
        for flow in have
        if flow.key not in keys and flow.key[0] not in matches
    ]
    present = {flow.key for flow in have}
    found += [
        Want(
            flow.key in present,
            flow.why,
            f"ovs-ofctl add-flow {own} '{flow.match},actions={flow.actions}'",
        )
        for flow in wanted
    ]
    return found + gateway.own(cloud)


def _cable(cloud: Cloud) -> bool:
    own = cloud.bridge(cloud.names.translator)
    return own is not None and NEAR in own.ports and _outside(cloud)


def _outside(cloud: Cloud) -> bool:
    provider = cloud.bridge(cloud.settings.provider_bridge)
    return provider is not None and FAR in provider.ports


def _flows(cloud: Cloud) -> tuple[tuple[mac_nat.Flow, ...], tuple[mac_nat.Flow, ...]]:
    """Give the flows that should be, by the MACs that should be, and those that are."""
    nic, called = cloud.require_provider_nic().name, cloud.names
    at_gateway = cloud.gateway.mac if cloud.gateway else ""
    pairs = [
        (address, called.gateway_mac if mac == at_gateway else mac)
        for address, mac in mac_nat.addresses(cloud)
    ]
    bridge = cloud.bridge(called.translator)
    ports = {str(NIC_PORT): nic, str(NEAR_PORT): NEAR}
    return (
        mac_nat.flows(pairs, cloud.registered_mac, nic),
        mac_nat.read(bridge, ports) if bridge else (),
    )


def checks(facts: Seen) -> list[Check]:
    """Hold the MACs, the own bridge's ports and its flows against what translating needs."""
    cloud = facts.cloud
    called, nic, port = cloud.names, cloud.provider_nic, cloud.gateway
    if not cloud.uses_openvswitch or nic is None:
        return [
            Check(
                "a bridge that translates MACs",
                "Open vSwitch",
                "a Linux bridge" if nic else "no provider NIC",
                False,
                'strategy = "share"',
            )
        ]
    wanted, have = _flows(cloud)
    same = {flow.key for flow in wanted} == {flow.key for flow in have}
    right = len({flow.key for flow in wanted} & {flow.key for flow in have})
    return [
        Check(
            "the gateway port's MAC",
            f"{called.gateway_mac}, its own",
            port.mac if port else "no gateway port",
            port is not None and port.mac == called.gateway_mac,
            gateway.NEXT,
        ),
        Check(
            "the provider NIC's own MAC",
            f"{cloud.registered_mac}, the registered one",
            nic.mac,
            nic.mac == cloud.registered_mac,
            gateway.NEXT,
        ),
        Check(
            f"the provider NIC is a port of {called.translator}",
            "yes, with a cable to the provider bridge",
            "yes, with a cable to the provider bridge"
            if cloud.translates and _cable(cloud)
            else "no",
            cloud.translates and _cable(cloud),
            gateway.NEXT,
        ),
        Check(
            f"rules of {called.translator}",
            f"{len(wanted)}, for {len(wanted) // 4} registered addresses",
            f"{len(have)}, {right} of them right",
            same,
            gateway.NEXT,
        ),
    ]


def leave(cloud: Cloud) -> list[Want]:
    """Want the own bridge gone and the NIC on the provider bridge again."""
    if not cloud.uses_openvswitch:
        return []
    own, provider, nic = cloud.names.translator, cloud.settings.provider_bridge, cloud.provider_nic
    back = ""
    if nic is not None and cloud.bridge(provider) is not None:
        back = (
            f" -- --may-exist add-port {provider} {nic.name}"
            f" -- remove interface {nic.name} ofport_request {NIC_PORT}"
        )
    return [
        Want(
            cloud.bridge(own) is None and not _outside(cloud),
            "the own bridge is gone, and the NIC on the provider bridge again",
            f"ovs-vsctl --if-exists del-port {provider} {FAR} -- --if-exists del-br {own}{back}",
        )
    ]
