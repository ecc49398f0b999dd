"""Packets led through nftables, as `nft -j list ruleset` prints them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from osawslab.clinic import nft
from osawslab.clinic.firewall import Packet


def meta(key: str, value: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"meta": {"key": key}}, "right": value}}


def payload(protocol: str, name: str, value: Any, op: str = "==") -> dict[str, Any]:
    left = {"payload": {"protocol": protocol, "field": name}}
    return {"match": {"op": op, "left": left, "right": value}}


def state(*names: str) -> dict[str, Any]:
    return {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": list(names)}}


DROP, ACCEPT = {"drop": None}, {"accept": None}
SET = payload("ip", "saddr", "@good")
LIMIT = {"limit": {"rate": 5, "per": "second"}}
OUT = Packet("10.9.0.5", "8.8.8.8", "qr-x", "qg-x", "tcp", 443, 45000)


def passes(*rules: list[dict[str, Any]], policy: str = "accept", family: str = "inet") -> nft.Fate:
    way = {"family": family, "table": "t", "name": "way", "hook": "forward", "prio": 0}
    side = {"family": family, "table": "t", "name": "side"}
    rows: list[dict[str, Any]] = [{"chain": {**way, "policy": policy}}, {"chain": side}]
    for at, expr in enumerate(rules, 1):
        chain = "side" if at > 9 else "way"
        rows.append({"rule": {"family": family, "table": "t", "chain": chain, "handle": at,
                              "expr": expr}})  # fmt: skip
    return nft.read(json.dumps({"nftables": rows})).passes(OUT, {"forward"})


@pytest.mark.parametrize(
    ("rules", "dropped", "unsure"),
    [
        ([[meta("iifname", "qr-x"), state("new"), DROP]], 1, 0),
        ([[meta("iifname", "qg-x"), DROP]], 0, 0),
        ([[meta("iifname", "q*"), DROP]], 1, 0),
        ([[state("established"), DROP]], 0, 0),
        ([[payload("tcp", "dport", {"set": [80, {"range": [400, 500]}]}), DROP]], 1, 0),
        ([[payload("udp", "dport", 443), DROP]], 0, 0),
        ([[payload("th", "sport", 45000), DROP]], 1, 0),
        ([[payload("ip", "saddr", {"prefix": {"addr": "10.9.0.0", "len": 24}}), DROP]], 1, 0),
        ([[payload("ip", "daddr", "8.8.8.8", "!="), DROP]], 0, 0),
        ([[meta("l4proto", "tcp"), ACCEPT], [DROP]], 0, 0),
        ([[{"counter": {}}, {"reject": {}}]], 1, 0),
        ([[SET, ACCEPT], [DROP]], 2, 1),  # perhaps it is one of those that are let through
        ([[LIMIT, DROP]], 0, 1),
        ([[SET, {"log": None}], [ACCEPT]], 0, 0),  # it decides nothing
        ([[{"jump": {"target": "side"}}]] + [[ACCEPT]] * 8 + [[DROP]], 10, 0),
    ],
)
def test_what_drops_a_packet(rules: list[Any], dropped: int, unsure: int) -> None:
    found = passes(*rules)
    assert (found.rule.handle if found.rule else 0, len(found.unsure)) == (dropped, unsure)


def test_a_policy_drops_what_no_rule_has_let_through() -> None:
    found = passes([state("established"), ACCEPT], policy="drop").rule
    assert found is not None
    assert found.words == "policy drop: inet t way"
    assert found.mend == "'chain inet t way { policy accept; }'"


def test_what_is_iptables_or_of_another_family_is_left_out() -> None:
    assert passes([DROP], family="ip6").rule is None
    saved = {"family": "ip", "table": "filter", "name": "FORWARD", "hook": "forward", "prio": 0}
    assert nft.read(json.dumps({"nftables": [{"chain": saved}]})).chains == {}
    assert nft.read("no JSON").drops == []
