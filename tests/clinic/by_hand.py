"""Faults that are on no list: where they show, what they are, as typed over SSH, and back.

Words in braces as in `faults`. Each was made when the diagnosis was finished.
"""

from __future__ import annotations

IN, AT = "ip netns exec {QR} ", "ip netns exec {VM} "
BY_HAND = [
    ("guest", "the VM loses its address", "ip -n {VM} addr flush dev eth0",
     "ip -n {VM} addr add 192.168.20.5/24 dev eth0;"
     " ip -n {VM} route replace default via 192.168.20.1"),
    ("guest", "the VM ignores pings", AT + "sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
     AT + "sysctl -qw net.ipv4.icmp_echo_ignore_all=0"),
    ("guest-back", "the VM sends its answers into a black hole",
     "ip -n {VM} route add blackhole 172.16.20.0/24",
     "ip -n {VM} route del blackhole 172.16.20.0/24"),
    ("ping", "the router has a way of its own to the internet",
     "ip -n {QR} route add 8.8.8.8/32 via 172.16.20.99 dev {QG}",
     "ip -n {QR} route del 8.8.8.8/32"),
    ("guest", "a flow drops what is for the VM",
     "ovs-ofctl add-flow br-int priority=50,ip,nw_dst=192.168.20.5,actions=drop",
     "ovs-ofctl --strict del-flows br-int priority=50,ip,nw_dst=192.168.20.5"),
    ("ping", "the router speaks no ARP at its gateway port", "ip -n {QR} link set {QG} arp off",
     "ip -n {QR} link set {QG} arp on"),
    ("server", "the VM's SSH server listens on another port only",
     AT + "iptables -t nat -A PREROUTING -p tcp --dport 22 -j REDIRECT --to-ports 2222",
     AT + "iptables -t nat -F PREROUTING"),
    ("ping", "the router tracks no connection",
     IN + "iptables -t raw -A PREROUTING -j CT --notrack",
     IN + "iptables -t raw -F PREROUTING"),
]  # fmt: skip
