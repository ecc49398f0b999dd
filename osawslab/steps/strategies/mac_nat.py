"""MACs stay, and OpenFlow rules on an own bridge translate them: several routers and addresses."""

from __future__ import annotations

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import Cloud, Want
from osawslab.cloud.mac_nat import FAR, NIC_PORT
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
    return mac_nat.wants(cloud, mac_nat.pairs(cloud)) + gateway.own(cloud)


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
    wanted, have = mac_nat.wanted(cloud, mac_nat.pairs(cloud)), mac_nat.have(cloud)
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
            if cloud.translates and mac_nat.cabled(cloud)
            else "no",
            cloud.translates and mac_nat.cabled(cloud),
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
            cloud.bridge(own) is None and not mac_nat.outside(cloud),
            "the own bridge is gone, and the NIC on the provider bridge again",
            f"ovs-vsctl --if-exists del-port {provider} {FAR} -- --if-exists del-br {own}{back}",
        )
    ]
