"""A sound host of a stranger's as facts that are built: what a test changes is what is wrong."""

from __future__ import annotations

import json
from typing import Any

from osawslab.clinic.account import Account
from osawslab.clinic.case import Case
from osawslab.clinic.diagnosis import diagnose, nobody
from osawslab.clinic.seen import Nic
from osawslab.clinic.station import Diagnosis

ROUTER = "qrouter-1"
MAC = "02:00:00:00:00:05"
ENI = Nic(MAC, ("10.0.2.9",), "eni-2", "subnet-2", "10.0.2.0/24", "vpc-1", 1, {"192.0.2.1": "10.0.2.9"})  # noqa: E501  # fmt: skip


def said(out: Any, status: int = 0, err: str = "") -> dict[str, Any]:
    text = out if isinstance(out, str) else json.dumps(out)
    return {"command": "…", "status": status, "out": text, "err": err}


def link(name: str, mac: str, *addresses: str, **more: Any) -> dict[str, Any]:
    """Build what `ip -j addr` says of an interface."""
    info = [
        {"family": "inet", "local": each.split("/")[0], "prefixlen": int(each.split("/")[1])}
        for each in addresses
    ]
    kind = {"linkinfo": {"info_kind": more.pop("kind")}} if "kind" in more else {}
    return {"ifname": name, "address": mac, "flags": ["UP"], "mtu": 1500, "addr_info": info,
            **kind, **more}  # fmt: skip


ANSWERED = said("2 packets transmitted, 2 received, 0% packet loss")


def told(**changes: Any) -> dict[str, Any]:
    """Build the look at a sound host with other names than a lab's, on a Linux bridge."""
    host = [
        link("ens5", "02:00:00:00:00:04", "10.0.1.9/24"),
        link("ens6", "02:00:00:00:00:0f", master="brq7", permaddr=MAC),
        link("brq7", "02:00:00:00:00:0f", kind="bridge"),
        link("tapx", "fe:16:3e:00:00:01", kind="veth", master="brq7", ifindex=7, link_index=3,
             link_netnsid=0),
    ]  # fmt: skip
    router = [
        link("qg-x", MAC, "10.0.2.9/24", kind="veth", ifindex=3, link_index=7, link_netnsid=0),
        link("qr-x", "fa:16:3e:00:00:02", "10.9.0.1/24"),
    ]
    ways = [{"dst": "default", "gateway": "10.0.2.1", "dev": "qg-x"}]
    saved = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o qg-x -j MASQUERADE\nCOMMIT\n"
    macs = {
        mac: {
            "device-number": [str(at)], "interface-id": [f"eni-{at}"], "local-ipv4s": [own],
            "public-ipv4s": [], "subnet-id": ["s"], "subnet-ipv4-cidr-block": [cidr],
            "vpc-id": ["v"], "vpc-ipv4-cidr-blocks": [], "security-group-ids": [],
            "leads": {"192.0.2.1": own},
        }
        for at, mac, own, cidr in (
            (0, "02:00:00:00:00:04", "10.0.1.9", "10.0.1.0/24"),
            (1, MAC, "10.0.2.9", "10.0.2.0/24"),
        )
    }  # fmt: skip
    answers = {
        "|links": said(host), "|again": said(host), f"{ROUTER}|links": said(router),
        "|routes": said([{"dst": "default", "gateway": "10.0.1.1", "dev": "ens5"}]),
        f"{ROUTER}|routes": said(ways), f"{ROUTER}|iptables": said(saved),
        f"{ROUTER}|sysctl": said("net.ipv4.ip_forward = 1\n"), f"{ROUTER}|out": ANSWERED,
        f"{ROUTER}|way|qr-x": said([{"dst": "8.8.8.8", "dev": "qg-x"}]),
        "ovs|bridges": said("", 127, "No such file"), "units": said("", 127, "No such file"),
        "fdb": said([]), "netns": said([]),
    }  # fmt: skip
    answers.update(changes.pop("said", {}))
    return {
        "root": True, "user": "me", "programs": {}, "system": "Some Linux 7", "netns": [ROUTER],
        "spaces": ["", ROUTER], "said": answers, "heard": [], "files": {}, "processes": [],
        "metadata": {"error": "", "macs": macs, "instance": "i-1", "region": "eu-north-1"},
        "bridge_filter": "", "systemd": True, **changes,
    }  # fmt: skip


def look(facts: dict[str, Any], books: Account | None = None) -> Diagnosis:
    ask = (lambda *_: books) if books else nobody()
    return diagnose(Case("host", lambda *_: facts, ask, lambda *_: "SSH-2.0"))


def switched() -> dict[str, Any]:
    """Build the answers of an Open vSwitch whose patch cable to the provider bridge is gone."""
    bridges = {"br-int": ["qg-x", "patch-tun"], "br-tun": ["patch-int"], "br-ex": ["ens6"]}
    peers = {"patch-tun": "patch-int", "patch-int": "patch-tun"}
    none: list[Any] = ["set", []]
    ports = [port for each in bridges.values() for port in each]
    return {
        "ovs|version": said("ovs-vswitchd (Open vSwitch) 3.1.0"),
        "ovs|bridges": said({"data": [
            [name, ["set", [["uuid", each] for each in held]], "system", "secure", ["map", []]]
            for name, held in bridges.items()
        ]}),
        "ovs|ports": said({"data": [[["uuid", each], each, none, none] for each in ports]}),
        "ovs|interfaces": said({"data": [
            [each, "patch" if each in peers else "",
             ["map", [["peer", peers[each]]] if each in peers else []], 1, none, ["map", []]]
            for each in ports
        ]}),
    }  # fmt: skip


def several(*addresses: str, saved: str = "") -> dict[str, Any]:
    """Build a router whose gateway port has these addresses, of an ENI that has two."""
    facts = told()
    router = [
        link("qg-x", MAC, *addresses, kind="veth", ifindex=3, link_index=7, link_netnsid=0),
        link("qr-x", "fa:16:3e:00:00:02", "10.9.0.1/24"),
    ]
    rules = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
    rules += "-A POSTROUTING -o qg-x -j SNAT --to-source 10.0.2.9\n" + saved + "COMMIT\n"
    facts["said"].update({f"{ROUTER}|links": said(router), f"{ROUTER}|iptables": said(rules)})
    facts["metadata"]["macs"][MAC]["local-ipv4s"] = ["10.0.2.9", "10.0.2.10"]
    return facts
