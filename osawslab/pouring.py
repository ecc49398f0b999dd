"""Whether a live capture keeps up: a sender of so many frames a second, captured at two points.

On a lab's instance with Linux bridges, so that the kernel forwards. The frames are IPv6's, which
the VPC drops in silence: what is measured is the capture.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from osawslab.steps import work

if TYPE_CHECKING:
    from osawslab.lab import Lab

FRAMES, RATE = 200_000, 40_000  # all, and those of one second
LENGTH, ROOM = 100, 1 << 30  # bytes of a frame, and more than all of them take
POINTS = ("router gateway", "provider NIC")
NOBODY = "02:99:99:99:99:99"

SENDER = """
import ctypes, json, os, socket, time
fd = os.open("/run/netns/" + GIVEN["netns"], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).setns(fd, 0x40000000):  # CLONE_NEWNET
    raise OSError(ctypes.get_errno(), "setns")
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind((GIVEN["device"], 0))
frame, total, rate = bytes.fromhex(GIVEN["frame"]), GIVEN["frames"], GIVEN["rate"]
sent, started = 0, time.perf_counter()
while sent < total:
    due = min(total, int((time.perf_counter() - started) * rate) + 1)
    while sent < due:
        out.send(frame)
        sent += 1
    time.sleep(0.0005)
print(json.dumps({"sent": sent, "seconds": time.perf_counter() - started}))
"""


def of_a_lab() -> dict[str, Any]:
    """Measure in a lab that is made for it, and removed again."""
    from osawslab.lab import Lab
    from osawslab.region import local

    try:
        with Lab("bench", target="local", bridge="linux") as lab:
            lab.catch_up("see_the_drop")
            return measure(lab)
    finally:
        local.remove("bench")


def measure(lab: Lab) -> dict[str, Any]:
    """Send from the router's namespace: how many, how fast, how many were seen and lost."""
    ground = work.read(lab._site())
    gateway = ground.cloud.require_router()
    head = bytes.fromhex((NOBODY + gateway.mac).replace(":", "")) + b"\x86\xdd"
    head += (
        struct.pack(">IHBB", 6 << 28, LENGTH - 54, 59, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    )
    with lab.capture(POINTS, filter=f"ether dst {NOBODY}", bytes=ROOM) as capture:
        told = ground.host.script(
            SENDER,
            netns=ground.cloud.names.router_netns,
            device=gateway.name,
            frame=head.ljust(LENGTH, b"\0").hex(),
            frames=FRAMES,
            rate=RATE,
        )
    seen = capture.frame["point"].value_counts()
    return {
        "sent": told["sent"],
        "seen": {point: int(seen.get(point, 0)) for point in POINTS},
        "lost": sum(capture.lost.values()),
        "frames_per_second": told["sent"] / told["seconds"],
    }
