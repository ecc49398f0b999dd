"""The way of a frame from the VM to the VPC, as a picture of what is.

The VPC lets out only frames with a registered MAC and a registered IP. The picture puts what AWS
has registered above what the NIC and the router really use, and says in words and shapes which
of them the VPC drops. Parts that do not exist (None) are left out; equal facts give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Literal

from osawslab.report import Picture

SANS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
INK, QUIET, LINE, PAPER = "#1b2733", "#4d5b68", "#7b8894", "#ffffff"
# Fill and stroke of each kind of place. Texts are INK or QUIET: contrast above 5 to 1 on all.
VPC, HOST, PART = ("#e3eefa", "#2f6db3"), ("#f3f5f7", LINE), (PAPER, LINE)
ROUTER, TENANT = ("#fdf3dd", "#a86f12"), ("#e6f5ec", "#2c7d57")

WIDTH = 760  # pixels: a notebook's cell and GitHub's page show it unscaled
ROW, LETTER, LABEL = 18, 7.25, 116  # pixels: a line, a letter of MONO, the labels' column
STROKE = f"stroke='{INK}' stroke-width='2'"
GAP, WIRE = 16, 122  # pixels: between boxes, and from a box's left edge to its wire

Kind = Literal["good", "bad", "note"]
SHAPES: dict[Kind, tuple[str, str]] = {  # a disc with a tick, an octagon with a cross, a diamond
    "good": ("#17693f", "<circle r='8.5'/><path d='M-4 0.5l3 3 5-6.5'/>"),
    "bad": (
        "#b3261e",
        "<path d='M-3.7-9h7.4l5.3 5.3v7.4l-5.3 5.3h-7.4l-5.3-5.3v-7.4z' stroke='none'/>"
        "<path d='M-3.5-3.5l7 7m0-7l-7 7'/>",
    ),
    "note": ("#4d5b68", "<path d='M0-9.5L9.5 0 0 9.5-9.5 0z' stroke='none'/><path d='M-4 0h8'/>"),
}


@dataclass(frozen=True)
class Nic:
    """A network interface of the instance: what it uses now and what AWS has registered."""

    name: str
    mac: str  # now
    registered_mac: str
    addresses: tuple[str, ...]  # registered, primary first
    eip: str | None = None


@dataclass(frozen=True)
class Port:
    """A port of the tenant router."""

    name: str
    mac: str = ""
    address: str = ""


@dataclass(frozen=True)
class Topology:
    """What is. `passes` is what was seen of the router's frames; None when nobody looked."""

    vpc_cidr: str
    instance: str | None = None
    instance_type: str = ""
    management: Nic | None = None
    provider: Nic | None = None
    bridge: str | None = None
    bridge_kind: str = ""  # "Open vSwitch" or "Linux bridge"
    router: str | None = None  # its namespace
    gateway: Port | None = None
    tenant_port: Port | None = None
    tenant_cidr: str | None = None
    vm: tuple[str, str] | None = None  # name, address
    published: tuple[str, int] | None = None  # Elastic IP, port
    floating: tuple[str, ...] = ()  # the VM's: its own address, its Elastic IP
    passes: bool | None = None
    rewritten: bool = False  # a bridge on the way writes the registered MAC


@dataclass(frozen=True)
class Mark:
    """A shape and the words that say the same."""

    kind: Kind
    words: str


@dataclass(frozen=True)
class Box:
    """One part: what it is, its name, rows of label and value, and its mark."""

    title: str
    name: str
    rows: tuple[tuple[str, str], ...] = ()
    mark: Mark | None = None
    colours: tuple[str, str] = PART

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return 30 + ROW * len(self.rows) + (26 if self.mark else 0) + (4 if self.rows else 0)

    @property
    def words(self) -> str:
        """The same as a sentence."""
        rows = "".join(f", {label} {value}" for label, value in self.rows)
        said = f"{self.title} {self.name}".strip() + rows
        return f"{said}: {self.mark.words}" if self.mark else said


def gateway_mark(t: Topology) -> Mark | None:
    """Say what becomes of frames with the gateway port's MAC and address at the VPC."""
    if t.gateway is None or t.provider is None:
        return None
    if t.gateway.mac != t.provider.registered_mac:
        if t.passes or t.rewritten:
            return Mark("note", "not registered: rewritten")
        return Mark("bad", "MAC not registered: dropped")
    if t.gateway.address and t.gateway.address not in t.provider.addresses:
        return Mark("bad", "IP not registered: dropped")
    return Mark("good", "registered")


def nic_mark(t: Topology) -> Mark | None:
    """Say whether the provider NIC still has its registered MAC, and who has it otherwise."""
    if t.provider is None:
        return None
    if t.provider.mac == t.provider.registered_mac:
        return Mark("good", "registered")
    if t.gateway and t.gateway.mac == t.provider.registered_mac:
        return Mark("note", "not registered, not used to send")
    return Mark("bad", "MAC not registered: dropped")


def border_mark(t: Topology) -> Mark | None:
    """Say whether the router's frames pass the VPC's border; None when nobody looked."""
    if t.passes is None or t.provider is None:
        return None
    if t.passes:
        return Mark("good", "passes")
    reason = gateway_mark(t) or nic_mark(t)
    return Mark("bad", reason.words if reason and reason.kind == "bad" else "dropped")


def picture(topology: Topology) -> Picture:
    """Draw everything there is, 760 pixels wide."""
    drawing, bottom = _scene(topology, 6, WIDTH - 12, 6)
    return Picture(_svg(drawing, bottom + 6), "\n".join(_words(topology)))


def before_after(before: Topology, after: Topology) -> Picture:
    """Draw two states of the way out side by side, without the management NIC."""
    half = WIDTH // 2 - GAP // 2 - 6
    left, lowest = _scene(before, 6, half, 34, wide=False)
    right, lower = _scene(after, WIDTH - 6 - half, half, 34, wide=False)
    titles = [
        _text(10, 24, "before", size=15, bold=True),
        _text(WIDTH - 2 - half, 24, "after", size=15, bold=True),
    ]
    words = ["before:", *_words(before, wide=False), "after:", *_words(after, wide=False)]
    return Picture(_svg(titles + left + right, max(lowest, lower) + 6), "\n".join(words))


def _vpc(t: Topology) -> Box:
    rows: list[tuple[str, str]] = []
    if t.provider:
        rows = [("registered MAC", t.provider.registered_mac)]
        rows.append(("registered IP", ", ".join(t.provider.addresses)))
        rows += [("Elastic IP", t.provider.eip)] if t.provider.eip else []
    return Box("VPC", t.vpc_cidr, tuple(rows), colours=VPC)


def _provider(t: Topology) -> list[Box]:
    boxes = []
    if t.provider:
        rows = (("MAC now", t.provider.mac),)
        boxes.append(Box("provider NIC", t.provider.name, rows, nic_mark(t)))
    if t.bridge:
        boxes.append(Box("provider bridge", t.bridge, (("kind", t.bridge_kind),)))
    return boxes


def _router(t: Topology) -> list[Box]:
    boxes: list[Box] = []
    if t.router is None:
        return boxes
    for title, port, mark in (
        ("gateway port", t.gateway, gateway_mark(t)),
        ("tenant port", t.tenant_port, None),
    ):
        if port:
            rows = (("MAC now" if mark else "MAC", port.mac), ("IP", port.address))
            boxes.append(Box(title, port.name, tuple(row for row in rows if row[1]), mark))
    return boxes


def _tenant(t: Topology) -> list[Box]:
    boxes = [Box("tenant network", t.tenant_cidr, colours=TENANT)] if t.tenant_cidr else []
    if t.vm:
        rows = [("IP", t.vm[1]), *(("floating IP", each) for each in t.floating)]
        if t.published:
            rows.append(("published at", f"{t.published[0]} port {t.published[1]}"))
        boxes.append(Box("VM", t.vm[0], tuple(rows), colours=TENANT))
    return boxes


def _management(t: Topology) -> Box | None:
    if t.management is None:
        return None
    rows = [("MAC", t.management.mac), ("IP", ", ".join(t.management.addresses))]
    rows += [("Elastic IP", t.management.eip)] if t.management.eip else []
    return Box("management NIC", t.management.name, tuple(rows))


def _words(t: Topology, wide: bool = True) -> list[str]:
    if t.instance is None:
        return [_vpc(t).words]
    border, management = border_mark(t), _management(t) if wide else None
    boxes = [_vpc(t), *([management] if management else []), *_provider(t)]
    words = [box.words for box in boxes]
    words[1:1] = [f"border of the VPC: {border.words}"] if border else []
    words[1:1] = [f"instance {t.instance} {t.instance_type}".rstrip()]
    words += [f"router {t.router}"] if t.router else []
    return words + [box.words for box in (*_router(t), *_tenant(t))]


def _scene(t: Topology, x: int, width: int, y: int, wide: bool = True) -> tuple[list[str], int]:
    """Draw one state in its place; also give the pixel where it ends."""
    vpc = _vpc(t)
    edge = y + vpc.height
    if t.instance is None:
        return _box(vpc, x, y, width), edge
    host, top = edge + 46, edge + 80  # of the instance, and of what is in it
    left, column = x + 10, 352 if wide else width - 20
    side, span = left + column + GAP, width - column - 20 - GAP
    parts, bottom = _stack(_provider(t), left, top, column)
    if t.router:
        parts += [_wire(left + WIRE, bottom - GAP, bottom)] if bottom > top else []
        drawn, bottom = _router_box(t, left, bottom, column)
        parts += drawn
    tenant = _tenant(t)
    if wide:
        port = _router(t)[-1].height + 10 + GAP if t.router and t.tenant_port else 0
        beside = bottom - port  # where the tenant port begins
        if management := _management(t):
            parts.append(_wire(side + 32, edge, top))
            parts += _box(management, side, top, span)
            bottom = max(bottom, top + management.height + GAP)
        drawn, below = _stack(tenant, side, beside if port else bottom, span)
        parts += drawn
        if port and tenant:
            parts.append(f"<path d='M{side - GAP - 10} {beside + 15}H{side}' {STROKE}/>")
        bottom = max(bottom, below)
    else:
        parts += [_wire(left + WIRE, bottom - GAP, bottom)] if tenant and bottom > top else []
        drawn, bottom = _stack(tenant, left, bottom, column)
        parts += drawn
    end = bottom - GAP + 10
    instance = Box("instance", f"{t.instance} {t.instance_type}".strip(), colours=HOST)
    out = [*_box(vpc, x, y, width), *_box(instance, x, host, width, end - host)]
    if t.provider:
        out.append(_wire(left + WIRE, edge, top, broken=t.passes is False))
    if border := border_mark(t):
        out += _mark(border, left + WIRE, edge + 23, halo=True)
    return out + parts, end


def _stack(boxes: list[Box], x: int, y: int, width: int) -> tuple[list[str], int]:
    """Draw boxes below each other, wired; also give where the next one would begin."""
    out: list[str] = []
    for box in boxes:
        out += [_wire(x + WIRE, y - GAP, y)] if out else []
        out += _box(box, x, y, width)
        y += box.height + GAP
    return out, y


def _router_box(t: Topology, x: int, y: int, width: int) -> tuple[list[str], int]:
    """Draw the router's namespace around its ports; also give where the next box would begin."""
    ports = _router(t)
    inner, height = [], 56
    for port in ports:
        inner += _box(port, x + 10, y + height, width - 20)
        height += port.height + 10
    outer = Box("router", "", (("", t.router or ""),), colours=ROUTER)
    return _box(outer, x, y, width, height) + inner, y + height + GAP


def _box(box: Box, x: int, y: int, width: int, height: int | None = None) -> list[str]:
    fill, stroke = box.colours
    out = [
        f"<rect x='{x}' y='{y}' width='{width}' height='{height or box.height}' rx='6' "
        f"fill='{fill}' stroke='{stroke}' stroke-width='1.5'/>",
        _text(x + 12, y + 20, box.title, bold=True),
        _text(x + width - 12, y + 20, _fit(box.name, width - 150), mono=True, end=True),
    ]
    at = y + 20
    for label, value in box.rows:
        at += ROW
        indent = LABEL if label else 0
        out.append(_text(x + 12, at, label, colour=QUIET))
        out.append(_text(x + 12 + indent, at, _fit(value, width - 24 - indent), mono=True))
    return out + (_mark(box.mark, x + 22, at + 19) if box.mark else [])


def _mark(mark: Mark, x: int, y: int, halo: bool = False) -> list[str]:
    colour, shape = SHAPES[mark.kind]
    return [
        *([f"<circle cx='{x}' cy='{y}' r='12' fill='{PAPER}'/>"] if halo else []),
        f"<g transform='translate({x} {y})' fill='{colour}' stroke='{PAPER}' stroke-width='2' "
        f"stroke-linecap='round'>{shape}</g>",
        _text(x + 16, y + 4.5, mark.words, colour=colour, bold=True),
    ]


def _wire(x: int, top: int, bottom: int, broken: bool = False) -> str:
    dashes = " stroke-dasharray='4 4'" if broken else ""
    return f"<path d='M{x} {top}V{bottom}' {STROKE}{dashes}/>"


def _text(
    x: float,
    y: float,
    words: str,
    *,
    colour: str = INK,
    size: float = 13,
    bold: bool = False,
    mono: bool = False,
    end: bool = False,
) -> str:
    style = f"font-family=\"{MONO}\" font-size='12'" if mono else f"font-size='{size}'"
    style += " font-weight='600'" if bold else ""
    style += " text-anchor='end'" if end else ""
    return f"<text x='{x}' y='{y}' fill='{colour}' {style}>{escape(words)}</text>"


def _fit(words: str, pixels: float) -> str:
    room = int(pixels / LETTER)
    return words if len(words) <= room else words[: room - 1] + "…"


def _svg(parts: list[str], height: int) -> str:
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' "
        f"viewBox='0 0 {WIDTH} {height}' font-family=\"{SANS}\">"
        f"<rect width='{WIDTH}' height='{height}' rx='8' fill='{PAPER}'/>{''.join(parts)}</svg>"
    )
