"""Capture at many interfaces of a host, in any of its network namespaces, into one stream.

This file's text runs on the host, like `probe`; `observe.ring` reads what it writes. Each interface
has a ring that the kernel fills (packet_mmap.rst, TPACKET_V3) and that goes out as it is, block by
block, so that the interpreter has a block and not a frame to deal with.

It never stays: it ends at its bounds, when its input says so or ends, when nobody has written to
its input for a while, and when nobody reads its output.
"""

# The part below runs on the host. GIVEN comes from `SshHost.stream`.
from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import mmap
import os
import queue
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOLD, BLOCK, DROP = 0, 1, 2  # kinds of messages: JSON, a block of a ring, a frame with its reason
HEAD = struct.Struct("<BHI")  # kind, number of the point, bytes that follow
SILENT_SECONDS = 30.0  # the other end writes more often, as long as it lives
DRAIN_SECONDS = 2.0
RINGS, BLOCK_BYTES, RETIRE_MS = 64 << 20, 1 << 18, 20  # all rings together; a block of one
WAITING = 512  # messages, mostly blocks
LONGEST_RING, DROPS_BYTES = 32 << 20, 8 << 20
NEWNET = 0x40000000  # CLONE_NEWNET, linux/sched.h
ALL, SOL_PACKET = 3, 263  # ETH_P_ALL, linux/if_ether.h; linux/socket.h
# linux/if_packet.h
ADD_MEMBERSHIP, RX_RING, STATISTICS, VERSION, PROMISCUOUS, TPACKET_V3 = 1, 5, 6, 10, 1, 2
ATTACH_FILTER, RECEIVE_BUFFER = 26, 33  # SO_ATTACH_FILTER, SO_RCVBUFFORCE: asm-generic/socket.h
USER, WHOLE = 1, 0x40000  # TP_STATUS_USER; bytes that a filter lets through
NETFILTER, ULOG = 12, 4  # NETLINK_NETFILTER, NFNL_SUBSYS_ULOG


class Unable(Exception):
    """A point that cannot be captured, in the kernel's or tcpdump's words."""


def enter(netns: str) -> None:
    """Put this thread into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        if libc.setns(fd, NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(fd)


def program(words: str, ours: list[str]) -> bytes:
    """Make the filter (classic BPF): not our own SSH connection, and what `words` let through."""
    code: list[tuple[int, ...]] = []
    if len(ours) == 4 and ":" not in ours[0]:
        there, here = int(ours[1]), int(ours[3])
        code = [
            (0x80, 0, 0, 0), (0x35, 0, 9, 54),  # long enough for TCP,
            (0x28, 0, 0, 12), (0x15, 0, 7, 0x0800),  # IPv4,
            (0x30, 0, 0, 23), (0x15, 0, 5, 6),  # TCP,
            (0xB1, 0, 0, 14), (0x40, 0, 0, 14),  # both ports:
            (0x15, 1, 0, there << 16 | here), (0x15, 0, 1, here << 16 | there),
            (0x06, 0, 0, 0),  # nothing of it is let through
        ]  # fmt: skip
    rest: list[tuple[int, ...]] = [(0x06, 0, 0, WHOLE)]
    if words:
        try:
            done = subprocess.run(
                ["tcpdump", "-y", "EN10MB", "-ddd", "--", words],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise Unable("filter: there is no tcpdump to read it") from None
        if done.returncode:
            raise Unable(f"filter: {done.stderr.strip().splitlines()[-1:]}")
        rest = [tuple(map(int, line.split())) for line in done.stdout.splitlines()[1:]]
    return b"".join(struct.pack("HBBI", *each) for each in (*code, *rest))


def attach(to: socket.socket, code: bytes) -> None:
    """Give a socket its filter."""
    kept = ctypes.create_string_buffer(code)
    to.setsockopt(
        socket.SOL_SOCKET, ATTACH_FILTER, struct.pack("HP", len(code) // 8, ctypes.addressof(kept))
    )


class Port:
    """An interface: its ring, and how many frames came, were read and were lost."""

    def __init__(self, device: str, code: bytes, size: int) -> None:
        made = self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        made.setsockopt(SOL_PACKET, VERSION, TPACKET_V3)
        self.count = max(8, size // BLOCK_BYTES)
        wanted = (BLOCK_BYTES, self.count, 2048, self.count * BLOCK_BYTES // 2048, RETIRE_MS, 0, 0)
        made.setsockopt(SOL_PACKET, RX_RING, struct.pack("7I", *wanted))
        self.ring = mmap.mmap(made.fileno(), self.count * BLOCK_BYTES)
        attach(made, code)
        made.bind((device, ALL))
        index = socket.if_nametoindex(device)
        made.setsockopt(
            SOL_PACKET, ADD_MEMBERSHIP, struct.pack("iHH8s", index, PROMISCUOUS, 0, b"")
        )
        self.kind = made.getsockname()[3]
        self.next = self.read = self.came = self.lost = 0

    def blocks(self) -> list[bytes]:
        """Take the blocks that the kernel has filled."""
        found: list[bytes] = []
        while True:
            at = self.next * BLOCK_BYTES
            status, frames, _, used = struct.unpack_from("4I", self.ring, at + 8)
            if not status & USER:
                return found
            if frames:
                found.append(self.ring[at : at + used])
                self.read += frames
            struct.pack_into("I", self.ring, at + 8, 0)
            self.next = (self.next + 1) % self.count

    def look(self) -> None:
        """Count what came and what was lost until now."""
        told = struct.unpack("3I", self.socket.getsockopt(SOL_PACKET, STATISTICS, 12))
        self.came += told[0]
        self.lost += told[1]

    @property
    def drained(self) -> bool:
        """Say whether all that came by the last look has been read."""
        return self.read >= self.came - self.lost


class Drops:
    """The frames that a firewall logs while it drops them (nfnetlink_log.h), and their reason."""

    def __init__(self, group: int, code: bytes) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, DROPS_BYTES)
        with contextlib.suppress(PermissionError):  # more than usual is for this machine's root
            self.socket.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER, DROPS_BYTES)
        self.socket.bind((0, 0))
        self.kind, self.lost, self.seen = 1, 0, -1
        # A filter wants a socket to sit on: what goes through this pair has passed it.
        self.out, self.sieve = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sieve.setblocking(False)
        attach(self.sieve, code)
        for attribute, value in (
            (1, b"\1"),  # bind
            (2, struct.pack(">IBx", 0xFFFF, 2)),  # whole packets
            (3, struct.pack(">I", 1 << 17)), (4, struct.pack(">I", 1)), (5, struct.pack(">I", 1)),
            (6, struct.pack(">H", 1)),  # each with its number
        ):  # fmt: skip
            body = struct.pack(">BBH", 0, 0, group)
            body += struct.pack("HH", 4 + len(value), attribute) + value + bytes(-len(value) % 4)
            # NLM_F_REQUEST | NLM_F_ACK
            self.socket.send(struct.pack("IHHII", 16 + len(body), ULOG << 8 | 1, 5, 0, 0) + body)
            error = -struct.unpack_from("i", self.socket.recv(1 << 16), 16)[0]
            if error:  # EPERM: another program has bound this group
                raise OSError(errno.EBUSY if error == errno.EPERM else error, "not told of drops")
        self.socket.setblocking(False)

    def frames(self) -> list[bytes]:
        """Take what was logged: time (8 bytes), the reason, a zero byte, the frame."""
        found: list[bytes] = []
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the gap in the numbers tells how many
                    raise
                continue
            at = 0
            while at + 20 <= len(data):
                size, kind = struct.unpack_from("IH", data, at)
                if kind == ULOG << 8:
                    found += self._frame(data[at + 20 : at + size])
                at += size + -size % 4

    def _frame(self, data: bytes) -> list[bytes]:
        told, at = {}, 0
        while at + 4 <= len(data):
            size, kind = struct.unpack_from("HH", data, at)
            told[kind & 0x7FFF] = data[at + 4 : at + size]
            at += size + -size % 4
        number = struct.unpack(">I", told[12])[0]
        if self.seen >= 0:
            self.lost += (number - self.seen - 1) & 0xFFFFFFFF
        self.seen = number
        frame = told.get(16, b"") + told.get(9, b"")
        self.out.send(frame)
        try:
            self.sieve.recv(1 << 18)
        except BlockingIOError:
            return []
        now = struct.pack("<Q", time.time_ns())
        return [now + told.get(10, b"").rstrip(b"\0") + b"\0" + frame]


class Writer:
    """Write what is put into it, in a thread: a slow reader does not stop the capture."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[bytes] = queue.Queue(WAITING)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def put(self, kind: int, point: int, data: bytes) -> None:
        """Write a message when its turn comes; where too many wait, the kernel counts the lost."""
        try:
            self.waiting.put(HEAD.pack(kind, point, len(data)) + data, timeout=SILENT_SECONDS)
        except queue.Full:
            os._exit(1)

    def end(self) -> None:
        """Write all that waits."""
        self.waiting.put(b"")
        self.thread.join()

    def _run(self) -> None:
        try:
            while data := self.waiting.get():
                left = memoryview(data)
                while left:
                    left = left[os.write(1, left) :]
        except OSError:
            os._exit(1)  # nobody reads it


def ports(given: dict[str, Any], ours: str) -> tuple[dict[int, Any], dict[int, str]]:
    """Open the points; those that cannot be, with the reason."""
    code = program(given["filter"], ours.split())
    found: dict[int, Any] = {}
    unable: dict[int, str] = {}
    size = min(LONGEST_RING, RINGS // max(1, len(given["points"])))
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    for number, (netns, device) in enumerate(given["points"]):
        try:
            if netns:
                enter(netns)
            group = device.rpartition("nflog:")[2] if device.startswith("nflog:") else ""
            found[number] = Drops(int(group), code) if group else Port(device, code, size)
        except OSError as error:
            unable[number] = os.strerror(error.errno or 0)
        libc.setns(home, NEWNET)
    return found, unable


def listen(given: dict[str, Any], found: dict[int, Any], writer: Writer) -> tuple[str, int]:
    """Capture until something ends it; what, and when: all until then is there."""
    watch = select.poll()
    watch.register(0, select.POLLIN)
    places = {each.socket.fileno(): number for number, each in found.items()}
    for fd in places:
        watch.register(fd, select.POLLIN)
    end, heard = time.monotonic() + given["seconds"], time.monotonic()
    frames = size = 0

    def take(number: int) -> None:
        nonlocal frames, size
        each = found[number]
        if isinstance(each, Port):
            for block in each.blocks():
                frames += struct.unpack_from("I", block, 12)[0]
                size += len(block)
                writer.put(BLOCK, number, block)
        else:
            for drop in each.frames():
                frames, size = frames + 1, size + len(drop)
                writer.put(DROP, number, drop)

    while True:
        now = time.monotonic()
        if now > heard + SILENT_SECONDS:
            os._exit(1)
        why = "seconds" if now > end else "frames" if frames >= given["frames"] else ""
        why = why or ("bytes" if size >= given["bytes"] else "")
        if why:
            break
        for fd, event in watch.poll(min(1000, int(1000 * (end - now)) + 1)):
            if fd:
                if event & select.POLLERR:  # the interface went down; it may come back
                    found[places[fd]].socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                take(places[fd])
                continue
            said = os.read(0, 4096)
            if not said:
                os._exit(1)
            heard, why = time.monotonic(), "asked" if b"\n" in said else ""
        if why:
            break
    rings = [each for each in found.values() if isinstance(each, Port)]
    for each in rings:
        each.look()
    until = time.time_ns()
    last = time.monotonic() + DRAIN_SECONDS
    while True:
        for number in found:
            take(number)
        if all(each.drained for each in rings) or time.monotonic() > last:
            return why, until
        watch.poll(RETIRE_MS)


def main(given: dict[str, Any], ours: str) -> None:
    """Open the points, say so, capture, and say what was lost; `ours` is SSH_CONNECTION."""
    os.environ["PATH"] = PATH
    writer = Writer()
    try:
        found, unable = ports(given, ours)
    except Unable as error:
        found, unable = {}, {-1: str(error)}
    kinds = {number: each.kind for number, each in found.items()}
    writer.put(
        TOLD, 0, json.dumps({"kinds": kinds, "unable": unable, "since": time.time_ns()}).encode()
    )
    if found:
        why, until = listen(given, found, writer)
        for each in found.values():
            each.socket.close()
        lost = {number: each.lost for number, each in found.items()}
        writer.put(TOLD, 0, json.dumps({"ended": why, "lost": lost, "until": until}).encode())
    writer.end()


if __name__ == "__main__":
    main(GIVEN, sys.argv[-1])  # type: ignore[name-defined]  # noqa: F821
