"""Send a frame from a NIC of the host and wait for the one that answers it, or for silence.

This file's text runs on the host, like `probe`. NICs are named by their MAC; one that has only
just been plugged in is waited for, and brought up.
"""

# The part below runs on the host. GIVEN comes from `SshHost.script`.
from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import time
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PLUGGED_SECONDS = 30.0
AGAIN_SECONDS = 0.4
ALL, OUTGOING = 3, 4  # ETH_P_ALL, PACKET_OUTGOING: linux/if_ether.h, linux/if_packet.h
PACKET, MEMBERSHIP, PROMISCUOUS = 263, 1, 1  # SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC


def nic(mac: str) -> str:
    """Name the NIC with a MAC, once it is there and up; "" where none comes."""
    end = time.monotonic() + PLUGGED_SECONDS
    while True:
        told = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True)
        for link in json.loads(told.stdout):
            if mac in (link.get("address"), link.get("permaddr")):
                name = str(link["ifname"])
                subprocess.run(["ip", "link", "set", "dev", name, "up"], check=True)
                return name
        if time.monotonic() > end:
            return ""
        time.sleep(0.1)


def port(name: str) -> socket.socket:
    """Open a NIC for whole frames, whoever they are for."""
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
    made.bind((name, 0))
    wanted = struct.pack("iHH8s", socket.if_nametoindex(name), PROMISCUOUS, 0, b"")
    made.setsockopt(PACKET, MEMBERSHIP, wanted)
    return made


def main(given: dict[str, Any]) -> dict[str, Any]:
    """Send until a frame matches, or time is up; how often it was sent, and that frame."""
    os.environ["PATH"] = PATH
    names = {mac: nic(mac) for mac in {given["nic"], given["listen"]}}
    if not all(names.values()):
        return {"names": names, "sent": 0, "found": ""}
    match = [(offset, bytes.fromhex(wanted)) for offset, wanted in given["match"]]
    out, ear = port(names[given["nic"]]), port(names[given["listen"]])
    start, times = time.monotonic(), 0
    while (passed := time.monotonic() - start) < given["seconds"]:
        if passed >= times * AGAIN_SECONDS:
            out.send(bytes.fromhex(given["frame"]))
            times += 1
        if not select.select([ear], [], [], 0.05)[0]:
            continue
        frame, about = ear.recvfrom(65536)
        if about[2] != OUTGOING and all(
            frame[offset : offset + len(wanted)] == wanted for offset, wanted in match
        ):
            return {"names": names, "sent": times, "found": frame.hex()}
    return {"names": names, "sent": times, "found": ""}


if __name__ == "__main__":
    print(json.dumps(main(GIVEN)))  # type: ignore[name-defined]  # noqa: F821, T201
