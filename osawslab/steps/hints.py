"""Hints for each step, in three levels: where to look, what to look for, what to type."""

from __future__ import annotations

LEVELS = 3
HINTS: dict[str, tuple[str, str, str]] = {
    "provision": (
        'Look at the plan: lab.plan("provision"). It lists what AWS still lacks, in the order in'
        " which AWS can make it.",
        "Two things count later. Two NICs in two subnets: one for you, one for the router. And two"
        " Elastic IPs: without a public address no packet leaves a VPC.",
        "Type lab.provision(). If it stopped half way, type it again: it goes on from there.",
    ),
    "install_cloud": (
        'Look at the instance, not at AWS: lab.check("install_cloud").',
        "Open vSwitch must run, and there must be a bridge br-int. VMs and routers plug into it."
        " Nothing of it touches the provider NIC yet.",
        'Type lab.install_cloud(). What is missing, as commands: lab.plan("install_cloud")',
    ),
    "provider_nic": (
        'Look at the second NIC of the instance: lab.shell("ip addr"). lab.links() tells its name.',
        "It must be up, without an address, and a port of br-example. And its registered MAC must"
        " be written down before anything changes it: on the swap you will need it.",
        'Type lab.provider_nic(). What is missing, as commands: lab.plan("provider_nic")',
    ),
    "networks": (
        'Look into the router. It is a network namespace: lab.shell("ip netns").',
        "Its port qg-… must have exactly the address that AWS has registered for the provider NIC,"
        " and its default route must lead to the VPC's router, the first address of the subnet."
        " No other address may be on qg-….",
        'Type lab.networks(). What is missing, as commands: lab.plan("networks")',
    ),
    "see_the_drop": (
        "Look at the first column of the capture: who sends, and with which MAC?",
        "Compare it with the MAC that AWS has registered for the provider NIC. The VPC lets a"
        " frame out only with that MAC and the address that belongs to it.",
        "Type lab.see_the_drop(). On a lab that is past the swap it shows what was seen then;"
        ' lab.reset("swap_mac") brings that moment back.',
    ),
    "swap_mac": (
        "Look at two MACs in the picture: the registered one at the VPC, and the one that the"
        " router's gateway port uses now.",
        "The gateway port must get the registered MAC. On t2 the provider NIC gives it away first"
        " and gets any other, so that no two interfaces have the same MAC at the same time. On t3"
        " and every Nitro type the driver refuses that: there the NIC stays as it is, the gateway"
        " port gets the same MAC, and a Linux bridge is told to hand the frames for it to that"
        " port.",
        'Type lab.swap_mac(). By hand: the commands of lab.plan("swap_mac"), which fit the driver'
        " of this NIC and this bridge.",
    ),
    "verify": (
        "Look at the same ping as before the swap: how many of three are answered now?",
        "The capture must show four kinds of frames: who-has, is-at, echo request, echo reply. If"
        " it ends after who-has, the gateway port has not the registered MAC.",
        "Type lab.verify(). If a check does not hold: lab.swap_mac(), then lab.verify() again.",
    ),
    "publish_vm": (
        "Look at the firewall inside the router, in table nat: what happens to a packet that"
        " arrives for port 522?",
        "One rule in PREROUTING must send it to the VM: destination 172.16.20.101, port 522,"
        " becomes 192.168.20.5, port 22. The Elastic IP is not in the rule: the VPC has"
        " translated it before the packet comes here.",
        "Type lab.publish_vm(). By hand, on the instance: ip netns exec qrouter-… iptables -t nat"
        " -A PREROUTING -p tcp -d 172.16.20.101 --dport 522 -j DNAT --to-destination"
        " 192.168.20.5:22",
    ),
    "make_it_last": (
        'Look at the router after a reboot: lab.shell("sudo ip netns"). What is made of network'
        " namespaces, addresses and rules lives in the kernel's memory.",
        "Three things must happen without you: something starts at boot, it makes the router with"
        " the registered MAC, and it writes the DNAT rule. And once more when Open vSwitch, which"
        " carries the router's ports, has been restarted.",
        "Type lab.make_it_last(). What it did after a reboot:"
        ' lab.shell("cat /var/log/osawslab-last.log")',
    ),
    "tear_down": (
        "Look at what still exists: lab.status().",
        "Not everything goes with the instance. Elastic IPs stay, and on AWS they cost money; a"
        " VPC can be deleted only when nothing is left in it.",
        "Type lab.tear_down(). If something is left, type it again: it reads what exists, whoever"
        " made it.",
    ),
}


def hint(step: str, level: int) -> str:
    """Give the hint of a level, 1 to 3; lower and higher ones count as the nearest.

    >>> hint("tear_down", 1)
    'Look at what still exists: lab.status().'
    """
    return HINTS[step][max(1, min(level, LEVELS)) - 1]
