"""The way of a frame from the VM to the VPC, as a picture of what is.

The VPC lets out only frames with a registered MAC and a registered IP. The picture puts what AWS
has registered above what the NIC and the router really use, and says in words and shapes which
of them the VPC drops. Parts that do not exist (None) are left out; equal facts give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from osawslab.observe import shapes
from osawslab.observe.shapes import HOST, PART, QUIET, ROUTER, STROKE, TENANT, VPC, WIDTH, Mark
from osawslab.report import Picture

ROW, LABEL = 18, 116  # pixels: a line, the labels' column
GAP, WIRE = 16, 122  # pixels: between boxes, and from a box's left edge to its wire


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
    """A port of the tenant router, or the VM's."""

    name: str
    mac: str = ""
    addresses: tuple[str, ...] = ()


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
    plugged: bool = True  # the provider NIC is a port of the bridge
    router: str | None = None  # its namespace
    gateway: Port | None = None
    tenant_port: Port | None = None
    tenant_cidr: str | None = None
    vm: Port | None = None
    published: tuple[str, int] | None = None  # Elastic IP, port
    floating: tuple[str, ...] = ()  # the VM's: its own address, its Elastic IP
    passes: bool | None = None
    rewritten: bool = False  # a bridge on the way writes the registered MAC


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
    if not t.gateway.addresses:
        return Mark("bad", "no IP: sends nothing")
    if not set(t.gateway.addresses) <= set(t.provider.addresses):
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


def bridge_mark(t: Topology) -> Mark | None:
    """Say that nothing passes between the bridge and the NIC, where it is no port of it."""
    if t.provider is None or t.bridge is None or t.plugged:
        return None
    return Mark("bad", f"{t.provider.name} is not plugged in: nothing passes")


def border_mark(t: Topology) -> Mark | None:
    """Say whether the router's frames pass the VPC's border; None when nobody looked."""
    if t.passes is None or t.provider is None:
        return None
    if t.passes:
        return Mark("good", "passes")
    if unplugged := bridge_mark(t):
        return unplugged
    reason = gateway_mark(t) or nic_mark(t)
    return Mark("bad", reason.words if reason and reason.kind == "bad" else "dropped")


def picture(topology: Topology) -> Picture:
    """Draw everything there is, 760 pixels wide."""
    drawing, bottom = _scene(topology, 6, WIDTH - 12, 6)
    return Picture(shapes.svg(drawing, bottom + 6), "\n".join(_words(topology)))


def before_after(before: Topology, after: Topology) -> Picture:
    """Draw two states of the way out side by side, without the management NIC."""
    half = WIDTH // 2 - GAP // 2 - 6
    left, lowest = _scene(before, 6, half, 34, wide=False)
    right, lower = _scene(after, WIDTH - 6 - half, half, 34, wide=False)
    titles = [
        shapes.text(10, 24, "before", size=15, bold=True),
        shapes.text(WIDTH - 2 - half, 24, "after", size=15, bold=True),
    ]
    words = ["before:", *_words(before, wide=False), "after:", *_words(after, wide=False)]
    return Picture(shapes.svg(titles + left + right, max(lowest, lower) + 6), "\n".join(words))


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
        boxes.append(Box("provider bridge", t.bridge, (("kind", t.bridge_kind),), bridge_mark(t)))
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
            rows = (("MAC now" if mark else "MAC", port.mac), ("IP", ", ".join(port.addresses)))
            boxes.append(Box(title, port.name, tuple(row for row in rows if row[1]), mark))
    return boxes


def _tenant(t: Topology) -> list[Box]:
    boxes = [Box("tenant network", t.tenant_cidr, colours=TENANT)] if t.tenant_cidr else []
    if t.vm:
        rows = [("MAC", t.vm.mac), ("IP", ", ".join(t.vm.addresses))]
        rows += [("floating IP", each) for each in t.floating]
        if t.published:
            rows.append(("published at", f"{t.published[0]} port {t.published[1]}"))
        boxes.append(Box("VM", t.vm.name, tuple(row for row in rows if row[1]), colours=TENANT))
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
    parts, bottom = _stack(_provider(t), left, top, column, wired=t.plugged)
    if t.router:
        parts += [shapes.wire(left + WIRE, bottom - GAP, bottom)] if t.bridge else []
        drawn, bottom = _router_box(t, left, bottom, column)
        parts += drawn
    tenant = _tenant(t)
    if wide:
        port = _router(t)[-1].height + 10 + GAP if t.router and t.tenant_port else 0
        beside = bottom - port  # where the tenant port begins
        if management := _management(t):
            parts.append(shapes.wire(side + 32, edge, top))
            parts += _box(management, side, top, span)
            bottom = max(bottom, top + management.height + GAP)
        drawn, below = _stack(tenant, side, beside if port else bottom, span)
        parts += drawn
        if port and tenant:
            parts.append(f"<path d='M{side - GAP - 10} {beside + 15}H{side}' {STROKE}/>")
        bottom = max(bottom, below)
    else:
        parts += [shapes.wire(left + WIRE, bottom - GAP, bottom)] if tenant and bottom > top else []
        drawn, bottom = _stack(tenant, left, bottom, column)
        parts += drawn
    end = bottom - GAP + 10
    instance = Box("instance", f"{t.instance} {t.instance_type}".strip(), colours=HOST)
    out = [*_box(vpc, x, y, width), *_box(instance, x, host, width, end - host)]
    if t.provider:
        out.append(shapes.wire(left + WIRE, edge, top, broken=t.passes is False))
    if border := border_mark(t):
        out += shapes.mark(border, left + WIRE, edge + 23, halo=True)
    return out + parts, end


def _stack(
    boxes: list[Box], x: int, y: int, width: int, wired: bool = True
) -> tuple[list[str], int]:
    """Draw boxes below each other; also give where the next one would begin."""
    out: list[str] = []
    for box in boxes:
        out += [shapes.wire(x + WIRE, y - GAP, y)] if out and wired else []
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
        shapes.text(x + 12, y + 20, box.title, bold=True),
        shapes.text(x + width - 12, y + 20, shapes.fit(box.name, width - 150), mono=True, end=True),
    ]
    at = y + 20
    for label, value in box.rows:
        at += ROW
        indent = LABEL if label else 0
        out.append(shapes.text(x + 12, at, label, colour=QUIET))
        out.append(
            shapes.text(x + 12 + indent, at, shapes.fit(value, width - 24 - indent), mono=True)
        )
    return out + (shapes.mark(box.mark, x + 22, at + 19) if box.mark else [])
