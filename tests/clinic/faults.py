"""What the tests break by hand: as typed on the instance, and the station that must be named.

`{QR}` is the router's namespace, `{QG}` and `{QINNER}` its ports, `{VM}` the VM's namespace,
`{TAP}`, `{CABLE}` and `{INNERCABLE}` cables to VM and router, `{NIC}` the
provider NIC, `{MAC}` its registered MAC.
"""

from __future__ import annotations

IN = "ip netns exec {QR} "
NAT = IN + "iptables -t nat "
# on both kinds of bridges
HOST = [
    ("nic-up", "ip link set {NIC} down"),
    ("nic-address", "ip addr add 172.16.20.101/24 dev {NIC}"),
    ("nic-mtu", "ip link set {NIC} mtu 1400"),
    ("client", "setsid -f bash -c 'exec -a dhclient python3 -c \"import time; time.sleep(900)\""
               " {NIC}' >/dev/null 2>&1 </dev/null"),
    ("gateway-up", "ip -n {QR} link set {QG} down"),
    ("gateway-address", "ip -n {QR} addr flush dev {QG}"),
    ("gateway-address", "ip -n {QR} addr add 172.16.20.101/16 dev {QG} && ip -n {QR} addr del"
                        " 172.16.20.101/24 dev {QG}"),
    ("registered", "ip -n {QR} addr del 172.16.20.101/24 dev {QG} && ip -n {QR} addr add"
                   " 172.16.20.77/24 dev {QG} && ip -n {QR} route replace default via 172.16.20.1"),
    ("gateway-mac", "ip -n {QR} link set {QG} address fa:16:3e:00:00:07"),
    ("duplicate", "ip link add twin type veth peer name twin2 "
                  "&& ip link set twin address {MAC} up"),
    ("gateway-mtu", "ip -n {QR} link set {QG} mtu 600"),
    ("fixed-neighbour", "ip -n {QR} neigh replace 172.16.20.1 lladdr 02:00:00:00:00:99 nud"
                        " permanent dev {QG}"),
    ("default-route", "ip -n {QR} route del default"),
    ("default-route", "ip -n {QR} route replace default via 172.16.20.9 dev {QG}"),
    ("policy", "ip -n {QR} rule add pref 100 from 192.168.20.0/24 blackhole"),
    ("policy", "ip -n {QR} route add blackhole 8.8.8.0/24"),
    ("forwarding", IN + "sysctl -qw net.ipv4.ip_forward=0"),
    ("snat", NAT + "-D neutron-l3-agent-snat -o {QG} -j SNAT --to-source 172.16.20.101"
             " --random-fully"),
    ("snat", NAT + "-D neutron-postrouting-bottom -m comment --comment"
                   " 'Perform source NAT on outgoing traffic.' -j neutron-l3-agent-snat"),
    ("snat", NAT + "-I neutron-l3-agent-snat -o {QG} -j SNAT --to-source 172.16.20.55"),
    ("filter", IN + "iptables -I FORWARD -i {QG} -j DROP"),
    ("filter", IN + "iptables -P FORWARD DROP"),
    ("filter", IN + "iptables -t raw -A PREROUTING -i {QG} -p tcp --dport 522 -j DROP"),
    ("nft", IN + "nft 'add table inet x; add chain inet x f { type filter hook forward priority 0;"
                 " }; add chain inet x o { type filter hook output priority 0; }; add rule inet x o"
                 " icmp type echo-request drop'"),
    ("dnat", NAT + "-D PREROUTING -d 172.16.20.101/32 -p tcp -m tcp --dport 522 -j DNAT"
                   " --to-destination 192.168.20.5:22"),
    ("dnat", NAT + "-R PREROUTING 2 -d 172.16.20.101/32 -p tcp -m tcp --dport 522 -j DNAT"
                   " --to-destination 192.168.20.66:22"),
    ("dnat", NAT + "-R PREROUTING 2 -d 172.16.20.101/32 -p tcp -m tcp --dport 522 -j DNAT"
                   " --to-destination 192.168.20.5:2222"),
    ("inner-up", "ip -n {QR} link set {QINNER} down"),
    ("inner-address", "ip -n {QR} addr flush dev {QINNER}"),
    ("guest-up", "ip -n {VM} link set eth0 down"),
    ("guest-way", "ip -n {VM} route del default"),
    ("guest-neighbour", "ip -n {QR} neigh replace 192.168.20.5 lladdr fa:16:3e:00:00:99 nud"
                        " permanent dev {QINNER}"),
    ("guest-mtu", "ip -n {VM} link set eth0 mtu 1200"),
    ("guest-plugged", "ip link set {TAP} down"),
]  # fmt: skip
SWITCH = [
    ("bridge", "ovs-vsctl del-port {NIC}"),
    ("bridge", "ovs-vsctl del-port {NIC} -- add-port br-int {NIC}"),
    ("patch", "ovs-vsctl del-port phy-br-example"),
    ("patch", "ovs-vsctl set interface int-br-example options:peer=nobody"),
    ("gateway-plugged", "ovs-vsctl set port {QG} tag=4095"),
    ("inner-plugged", "ovs-vsctl set port {QINNER} tag=1"),
    ("guest-plugged", "ovs-vsctl set port {TAP} tag=9"),
    ("guest-plugged", "ovs-vsctl del-port {TAP}"),
    ("fdb", "ovs-appctl fdb/add br-int {TAP} 1 {MAC}"),
    ("flows", "ovs-vsctl set port {NIC} tag=7"),
    ("flows", "ovs-ofctl add-flow br-example priority=99,in_port={NIC},actions=drop"),
    ("flows", "ovs-ofctl --strict del-flows br-int 'priority=3,in_port=int-br-example,"
              "vlan_tci=0x0000/0x1fff'"),
    ("flows", "ovs-ofctl --strict del-flows br-example"
              " 'priority=4,in_port=phy-br-example,dl_vlan=1'"),
]  # fmt: skip
LINUX = [
    ("bridge", "ip link set {NIC} nomaster"),
    ("patch", "ip link set br-example down"),
    ("gateway-plugged", "ip link set {CABLE} nomaster"),
    ("fdb", "bridge fdb replace {MAC} dev {NIC} master permanent"),
    ("inner-plugged", "ip link set {INNERCABLE} nomaster"),
    ("guest-plugged", "ip link set {TAP} nomaster"),
]
