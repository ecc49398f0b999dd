"""What translating MACs costs: `mac-nat`'s own bridge beside plain NORMAL forwarding.

On an instance, two pairs of network namespaces: one pair on a bridge that forwards as NORMAL, the
other with the two bridges and the flows of `mac-nat` between them. Both are measured in turns, so
that what else the machine does falls on both.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from osawslab.cloud import mac_nat
from osawslab.cloud.handbuilt import datapath
from osawslab.errors import StepFailed
from osawslab.steps import work

if TYPE_CHECKING:
    from osawslab.lab import Lab

ROUNDS = 9
SECONDS = 0.5  # of one stream
TRIPS = 300  # of one round trip's median
ADDRESSES = (1, 2, 4, 8, 15)  # 15: most of a t3.xlarge's or t2.xlarge's NIC (EC2, using-eni)
INNER, OUTER = "172.16.20.101", "172.16.20.1"
REGISTERED, ROUTER = "02:0b:ec:00:00:01", "fa:16:3e:00:00:01"
FAR_PORT = "bench-out"  # stands for the provider NIC

PAIR = """
ip netns add {0}-in && ip netns add {0}-out
ip link add eth0 netns {0}-in address {router} type veth peer name {1}
ip link add eth0 netns {0}-out type veth peer name {2}
ip link set {1} up && ip link set {2} up
ip -n {0}-in addr add {inner}/24 dev eth0 && ip -n {0}-in link set eth0 up
ip -n {0}-out addr add {outer}/24 dev eth0 && ip -n {0}-out link set eth0 up
for side in in out
do ip netns exec {0}-$side ethtool -K eth0 tx off tso off gso off gro off > /dev/null
done
"""
BRIDGES = """
set -e
ovs-vsctl add-br br-bench-1 -- set bridge br-bench-1 fail_mode=standalone {kind} \\
 -- add-port br-bench-1 plain-in -- add-port br-bench-1 plain-out
ovs-vsctl add-br br-bench-2 -- set bridge br-bench-2 fail_mode=standalone {kind} \\
 -- add-port br-bench-2 bench-in \\
 -- add-port br-bench-2 {far} -- set interface {far} type=patch options:peer={near}
ovs-vsctl add-br br-bench-3 -- set bridge br-bench-3 fail_mode=secure {kind} \\
 -- add-port br-bench-3 bench-out \\
 -- add-port br-bench-3 {near} -- set interface {near} type=patch options:peer={far}
"""
AWAY = """
for each in 1 2 3; do ovs-vsctl --if-exists del-br br-bench-$each; done
for each in plain bench; do
for side in in out; do
ip link del $each-$side 2> /dev/null; ip netns del $each-$side 2> /dev/null
done; done; true
"""

# A socket keeps the network namespace that its thread had when it was made: setns(2).
MEASURE = """
import ctypes, socket, threading, time
libc = ctypes.CDLL(None, use_errno=True)

def enter(name):
    with open("/run/netns/" + name) as file:
        if libc.setns(file.fileno(), 0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "setns")

def pair(name):
    enter(name + "-out")
    listening = socket.create_server((GIVEN["outer"], 0))
    listening.settimeout(10)
    enter(name + "-in")
    near = socket.create_connection(listening.getsockname(), 10)
    far, _ = listening.accept()
    listening.close()
    for each in (near, far):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.settimeout(10)
    return near, far

def stream(name):
    near, far = pair(name)
    block, ended, got = b"x" * (1 << 16), time.perf_counter() + GIVEN["seconds"], [0]

    def take():
        while data := far.recv(1 << 18):
            got[0] += len(data)

    thread = threading.Thread(target=take)
    thread.start()
    started = time.perf_counter()
    while time.perf_counter() < ended:
        near.sendall(block)
    near.shutdown(socket.SHUT_WR)
    thread.join()
    took = time.perf_counter() - started
    near.close(), far.close()
    return got[0] * 8 / took

def trip(name):
    near, far = pair(name)
    found = []
    for _ in range(GIVEN["trips"]):
        started = time.perf_counter()
        near.send(b"x"), far.recv(1), far.send(b"x"), near.recv(1)
        found.append(time.perf_counter() - started)
    near.close(), far.close()
    return sorted(found)[len(found) // 2]

rounds = []
for number in range(GIVEN["rounds"]):
    names = ["plain", "bench"] if number % 2 else ["bench", "plain"]
    rounds.append({name: [stream(name), trip(name)] for name in names})
import json
print(json.dumps(rounds))
"""


def of_a_lab() -> dict[str, Any]:
    """Measure in a lab that is made for it, and removed again."""
    from osawslab.lab import Lab
    from osawslab.region import local

    try:
        with Lab("bench", target="local", bridge="openvswitch") as lab:
            for step in lab.steps[:2]:
                lab.run(step)
            return measure(lab)
    finally:
        local.remove("bench")


def measure(lab: Lab) -> dict[str, Any]:
    """Measure on a lab's instance that has Open vSwitch; nothing stays there.

    Bits a second and seconds, medians of all rounds; a ratio is the median of the rounds' own.
    Raises StepFailed.
    """
    ground = work.read(lab._site())
    host, kind = ground.host, datapath(ground.cloud)
    host.run(AWAY)
    try:
        for name in ("plain", "bench"):
            host.run(
                "set -e"
                + PAIR.format(
                    name, f"{name}-in", f"{name}-out", router=ROUTER, inner=INNER, outer=OUTER
                )
            )
        host.run(BRIDGES.format(kind=kind, near=mac_nat.NEAR, far=mac_nat.FAR))
        flows = {str(count): _flows(host, count) for count in ADDRESSES}
        rounds = host.script(MEASURE, outer=OUTER, seconds=SECONDS, trips=TRIPS, rounds=ROUNDS)
    finally:
        host.run(AWAY)
    if len(rounds) != ROUNDS:
        raise StepFailed("not all rounds were measured", seen=str(len(rounds)))

    def middle(name: str, what: int) -> float:
        return float(median(each[name][what] for each in rounds))

    return {
        "bits_per_second": {"normal": middle("plain", 0), "mac-nat": middle("bench", 0)},
        "round_trip": {"normal": middle("plain", 1), "mac-nat": middle("bench", 1)},
        "throughput_ratio": median(each["bench"][0] / each["plain"][0] for each in rounds),
        "latency_ratio": median(each["bench"][1] / each["plain"][1] for each in rounds),
        "flows": flows,
    }


def _flows(host: Any, count: int) -> int:
    """Make the flows of so many addresses; give how many the bridge then has."""
    first, last = INNER.rsplit(".", 1)
    pairs = [(f"{first}.{int(last) + number}", ROUTER) for number in range(count)]
    text = "\n".join(
        f"{flow.match},actions={flow.actions}"
        for flow in mac_nat.flows(pairs, REGISTERED, FAR_PORT)
    )
    host.run("ovs-ofctl add-flows br-bench-3 -", text + "\n")
    return len(host.run("ovs-ofctl dump-flows --no-stats br-bench-3").split("priority=")) - 1
