"""The rules of the region: each with a sentence, as the kernel tells them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from osawslab import rules
from osawslab.region import network

FDB = "02:00:00:37:9d:ec dev p-1 master sn-1 static\n33:33:00:00:00:01 dev p-1 self permanent\n"


class Kernel:
    """Answers as a region with one VPC does."""

    tier = "userns"

    def __init__(self, *places: str) -> None:
        self.listed = list(places)

    def places(self) -> list[str]:
        return self.listed

    def execute(self, place: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        code, out, err = {
            "bridge": (0, FDB, ""),
            "nft": (0, "table here", ""),
            "iptables-legacy-save": (0, "*nat", ""),
            "ip": (1, "", "no such thing"),
        }[argv[0]]
        return subprocess.CompletedProcess(argv, code, out, err)

    def drops(self) -> dict[str, int]:
        return {"mac": 2, "arp": 0, "ip": 0, "acl": 0, "group": 0, "no_eip": 1, "other": 0}


def read(*places: str) -> Any:
    return rules.read(Kernel(*places))  # type: ignore[arg-type]


def test_each_rule_has_a_sentence_in_front() -> None:
    found = read("internet", "i-1.1", "vpc-1")
    blocks = found.text.split("\n\n")
    assert blocks[0].startswith("# vpc-1")
    assert len(blocks) == 1 + len(rules.ASKED)
    for block, (means, words) in zip(blocks[1:], rules.ASKED, strict=True):
        sentence, command, *said = block.splitlines()
        assert sentence == f"# {means}"
        assert command == f"# vpc-1$ {' '.join(words)}"
        assert said
    assert "02:00:00:37:9d:ec" in found.text
    assert "33:33" not in found.text  # the kernel's own
    assert "no such thing" in found.text
    assert [rule["command"] for rule in found.data["vpc-1"]][1] == "bridge fdb show"


def test_user_mode_linux_has_its_router_elsewhere() -> None:
    kernel = Kernel("vpc-1")
    kernel.tier = "uml"
    *_, last = rules.read(kernel).vpcs["vpc-1"]  # type: ignore[arg-type]
    assert (last.command, last.said) == ("iptables-legacy-save", "*nat")


def test_without_a_vpc() -> None:
    assert "no VPC yet" in read("internet").text
    assert read("internet").data == {}


def test_drops_have_a_meaning() -> None:
    shown = rules.drops(Kernel())  # type: ignore[arg-type]
    assert [row[:2] for row in shown.rows][:1] == [("mac", "2")]
    assert {row[0] for row in shown.rows} == {*network.REASONS, "acl", "group", "no_eip", "other"}
    assert all(row[2] for row in shown.rows)
