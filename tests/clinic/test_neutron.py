"""What only Neutron has: floating IPs, address scopes, tunnels, hypervisors."""

from __future__ import annotations

import json

from stranger import ROUTER, look, said, several, switched, told


def test_the_bridge_of_tunnels_is_not_the_nics_even_where_no_other_is_joined() -> None:
    facts = told(said={**switched(), f"{ROUTER}|out": said("2 packets transmitted, 0 received")})
    for where in ("|links", "|again"):
        rows = [
            each for each in json.loads(facts["said"][where]["out"]) if each["ifname"] != "tapx"
        ]
        rows = [{**each, "master": "ovs-system"} if each.get("master") else each for each in rows]
        facts["said"][where] = said(rows)
    found = look(facts)
    assert found.cause is not None
    assert found.cause.key == "patch", found.text
    assert "br-int and br-ex" in found.cause.what
    assert "br-tun" not in found.cause.mend


def test_a_floating_ip_is_not_the_routers_own_address() -> None:
    found = look(several("10.0.2.10/32", "10.0.2.9/24"))
    assert found.ok, found.text
    found = look(several("10.0.2.10/32"))
    assert found.cause is not None
    assert found.cause.key == "gateway-address", found.text
    assert found.cause.seen == "only 10.0.2.10/32"
    assert "addr add 10.0.2.9/24 dev qg-x" in found.cause.mend
    found = look(several("10.0.2.10/32", "10.0.2.77/24"))
    assert found.cause is not None
    assert (found.cause.key, found.cause.seen) == ("registered", "10.0.2.77")


def test_a_published_address_without_an_elastic_ip_takes_none_that_is_used() -> None:
    rule = "-A PREROUTING -d 10.0.2.10/32 -p tcp --dport 522 -j DNAT --to-destination 10.9.0.5:22\n"
    found = look(several("10.0.2.9/24", "10.0.2.10/32", saved=rule))
    assert found.cause is not None
    assert found.cause.key == "eip", found.text
    assert "10.0.2.10" in found.cause.what + found.cause.mend
    assert "192.0.2.1" not in found.cause.mend
    assert "reassociation" not in found.cause.mend


def test_what_is_marked_at_the_gateway_passes_neutrons_scopes() -> None:
    scope = (
        "COMMIT\n*mangle\n:PREROUTING ACCEPT [0:0]\n:scope - [0:0]\n-A PREROUTING -j scope\n"
        "-A scope -i qr-x -j MARK --set-xmark 0x4000000/0xffff0000\n{}"
        "COMMIT\n*filter\n:FORWARD ACCEPT [0:0]\n"
        "-A FORWARD -o qr-x -m mark ! --mark 0x4000000/0xffff0000 -j DROP\n"
    )
    marked = "-A scope -i qg-x -j MARK --set-xmark 0x4000000/0xffff0000\n"
    found = look(several("10.0.2.9/24", saved=scope.format(marked)))
    assert found.ok, found.text
    found = look(several("10.0.2.9/24", saved=scope.format("")))
    assert found.cause is not None
    assert found.cause.key == "filter"


def test_a_hypervisor_that_is_stopped_is_named() -> None:
    facts = several("10.0.2.9/24")
    silent = said("2 packets transmitted, 0 received")
    mac = "fa:16:3e:00:00:09"
    facts["said"][f"{ROUTER}|guest|10.9.0.5"] = silent
    facts["said"][f"{ROUTER}|neighbours"] = said(
        [{"dst": "10.9.0.5", "lladdr": mac, "dev": "qr-x"}]
    )
    facts["stopped"] = {"77": ["fa:16:3e:00:00:08"], "88": [mac]}
    found = look(facts)
    assert found.cause is not None
    assert (found.cause.key, found.cause.mend) == ("guest", "sudo kill -CONT 88")
