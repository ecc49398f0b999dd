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
    ("filter", "the router begins no TCP connection of a VM's",
     IN + "iptables -I FORWARD -i {QINNER} -p tcp -m conntrack --ctstate NEW -j DROP",
     IN + "iptables -F FORWARD"),
    ("filter", "the router lets no question to a name server pass",
     IN + "iptables -I FORWARD -i {QINNER} -p udp -m udp --dport 53 -j DROP",
     IN + "iptables -F FORWARD"),
    ("nft", "another firewall in the router lets no VM begin anything",
     IN + "nft 'add table inet guard; add chain inet guard way { type filter hook forward priority"
     " 0; }; add rule inet guard way iifname {QINNER} ct state new drop'",
     IN + "nft delete table inet guard"),
    ("snat", "TCP leaves with an address that nobody has registered",
     IN + "iptables -t nat -I POSTROUTING -o {QG} -p tcp -j SNAT --to-source 172.16.20.55",
     IN + "iptables -t nat -D POSTROUTING 1"),
    ("policy", "a quarter of the internet is unreachable",
     "ip -n {QR} route add unreachable 64.0.0.0/2", "ip -n {QR} route del unreachable 64.0.0.0/2"),
    ("guest-filter", "the VM's own firewall lets it begin nothing",
     AT + "iptables -A OUTPUT -m conntrack --ctstate NEW -j DROP", AT + "iptables -F OUTPUT"),
    ("inner-queue", "the VM sends a thousand bytes a second",
     AT + "tc qdisc add dev eth0 root tbf rate 8kbit burst 1600 latency 50ms",
     AT + "tc qdisc del dev eth0 root"),
    ("nic-queue", "the provider NIC sends a thousand bytes a second",
     "tc qdisc add dev {NIC} root handle 1: htb default 1;"
     " tc class add dev {NIC} parent 1: classid 1:1 htb rate 8kbit",
     "tc qdisc del dev {NIC} root"),
    ("flows", "a flow drops UDP", "ovs-ofctl add-flow br-int priority=50,udp,actions=drop",
     "ovs-ofctl --strict del-flows br-int priority=50,udp"),
    ("client", "a program gives the gateway port another MAC, again and again",
     "setsid -f sh -c 'while ip -n {QR} link set {QG} address fa:16:3e:00:00:07; do sleep 3; done'"
     " >/dev/null 2>&1 </dev/null; sleep 0.5",
     "kill -- -$(pgrep -f '^sh -c while ip -n {QR} link'); ip -n {QR} link set {QG} address {MAC}"),
]  # fmt: skip
