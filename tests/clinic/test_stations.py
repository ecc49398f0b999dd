"""What a lab cannot show: stations judged by facts that are built here."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from osawslab.clinic import firewall, hear, outside
from osawslab.clinic.account import Account
from osawslab.clinic.bridges import dropper, reaches
from osawslab.clinic.diagnosis import Case, diagnose, nobody
from osawslab.clinic.firewall import Packet
from osawslab.clinic.seen import Nic, Said
from osawslab.clinic.source import source
from osawslab.clinic.station import BECAUSE, ORDER, Diagnosis, Station, explained
from osawslab.errors import CannotReach

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


def test_a_strangers_sound_host_has_no_finding() -> None:
    found = look(told())
    assert found.ok, found.text
    assert "nothing is wrong" in found.headline
    assert json.dumps(found.data)
    assert found._repr_html_()


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


UNITS = (
    "Id=neutron-l3-agent.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n"
    "Type=simple\n\nId=nova-compute.service\nLoadState=loaded\nActiveState=inactive\n"
    "UnitFileState=enabled\nType=notify\n\nId=ovs-record.service\nLoadState=loaded\n"
    "ActiveState=inactive\nUnitFileState=enabled\nType=oneshot\n"
)


@pytest.mark.parametrize(
    ("key", "mend", "changes"),
    [
        ("services", "sudo systemctl restart neutron-l3-agent.service nova-compute.service",
         {"said": {"units": said(UNITS)}}),
        ("nic-queue", "sudo tc qdisc del dev ens6 root",
         {"said": {"|qdisc": said([{"kind": "netem", "dev": "ens6"}])}}),
        ("client", "sudo nmcli device set ens6 managed no",
         {"said": {"nmcli": said("ens5:connected:a\nens6:connected:Wired 2\n")}}),
        ("client", "sudo sed -i -E 's/^(\\s*iface ens6 inet) (dhcp|static)/\\1 manual/' /etc/network/interfaces",  # noqa: E501
         {"files": {"/etc/network/interfaces": "auto ens6\niface ens6 inet dhcp\n"}}),
        ("namespace", "sudo systemctl restart neutron-l3-agent", {"netns": [], "spaces": [""]}),
        ("bridge-filter", "sudo sysctl -w net.bridge.bridge-nf-call-iptables=0",
         {"bridge_filter": "1", "said": {
             "|iptables": said("*filter\n:FORWARD DROP [0:0]\nCOMMIT\n")}}),
    ],
)  # fmt: skip
def test_a_station(key: str, mend: str, changes: dict[str, Any]) -> None:
    found = look(told(**changes))
    assert found.cause is not None
    assert (found.cause.key, found.cause.mend) == (key, mend), found.text


ODD = ";reboot;$(id)"
NAMES = re.compile(r"(?<![\w-])(ens6|brq7|tapx|qrouter-1|qg-x|qr-x)(?![\w-])")


def odd(facts: dict[str, Any]) -> dict[str, Any]:
    """Call the NIC, its bridge, the cable and the router as nobody should."""
    return dict(json.loads(NAMES.sub(lambda found: found[0] + ODD, json.dumps(facts))))


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("nic-up", {"links": {"ens6": {"flags": []}}}),
        ("nic-mtu", {"links": {"ens6": {"mtu": 1400}}}),
        ("nic-queue", {"said": {"|qdisc": said([{"kind": "netem", "dev": "ens6"}])}}),
        ("bridge", {"links": {"ens6": {"master": ""}}, "unheard": True}),
        ("patch", {"links": {"brq7": {"flags": []}}}),
        ("gateway-plugged", {"links": {"tapx": {"flags": []}}}),
        ("gateway-up", {"links": {"qg-x": {"flags": []}}}),
        ("gateway-mac", {"links": {"qg-x": {"address": "fa:16:3e:00:00:07"}}, "unheard": True}),
        ("forwarding", {"said": {f"{ROUTER}|sysctl": said("net.ipv4.ip_forward = 0\n")}}),
        ("inner-up", {"links": {"qr-x": {"flags": []}}}),
    ],
)  # fmt: skip
def test_no_name_of_a_host_is_more_than_a_name_in_a_command(
    key: str, changes: dict[str, Any]
) -> None:
    facts = told(said=changes.get("said", {}))
    for where in ("|links", "|again", f"{ROUTER}|links"):
        rows = json.loads(facts["said"][where]["out"])
        for row in rows:
            row.update(changes.get("links", {}).get(row["ifname"], {}))
        facts["said"][where] = said(rows)
    if "unheard" in changes:
        facts["said"][f"{ROUTER}|out"] = said("2 packets transmitted, 0 received")
    found = look(odd(facts))
    assert found.cause is not None
    assert found.cause.key == key, found.text
    for each in found.findings:
        taken = shlex.shlex(each.mend, posix=True, punctuation_chars=";()")  # as a shell takes it
        taken.whitespace_split = True
        words = list(taken)
        assert "reboot" not in words, each.mend
        assert not each.mend or any(word.endswith(ODD) for word in words), each.mend


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("root", {"root": False, "said": {f"{ROUTER}|links": said("", 1, "not permitted")}}),
        ("registered", {"metadata": {"error": "timed out"}}),
        ("snat", {"said": {f"{ROUTER}|iptables": said("", 127, "iptables-save: not found")}}),
        ("forwarding", {"said": {f"{ROUTER}|sysctl": said("", 127, "sysctl: not found")}}),
        ("nic", {"said": {"|links": said("", 1, 'Option "-j" is unknown')}}),
    ],
)  # fmt: skip
def test_what_cannot_be_looked_at_is_said(key: str, changes: dict[str, Any]) -> None:
    found = look(told(**changes))
    assert [each for each in found.stations if each.key == key and each.ok is None], found.text


def test_every_gateway_of_every_router_is_walked() -> None:
    facts = told(netns=[ROUTER, "qrouter-2"], spaces=["", ROUTER, "qrouter-2"])
    second = [
        link("qg-y", "fa:16:3e:00:00:0a", "10.0.2.50/24"),
        link("qg-z", "fa:16:3e:00:00:0b", "10.0.2.51/24"),
    ]
    facts["said"]["qrouter-2|links"] = said(second)
    found = look(facts)
    wrong = {each.what for each in found.stations if each.key == "registered" and each.failed}
    assert wrong == {"qg-y's address is registered", "qg-z's address is registered"}


def books(**changes: Any) -> Account:
    subnet = {"SubnetId": "subnet-2"}
    fine: dict[str, Any] = {
        "why": "",
        "instance": {"InstanceId": "i-1", "State": {"Name": "running"}, "VpcId": "vpc-1"},
        "gateways": ({"InternetGatewayId": "igw-1", "Attachments": [{"VpcId": "vpc-1"}]},),
        "tables": ({"RouteTableId": "rtb-1", "Associations": [subnet], "Routes": [
            {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": "active"}]},),
        "acls": ({"NetworkAclId": "acl-1", "Associations": [subnet], "Entries": [
            entry(100, False, "allow"), entry(100, True, "allow")]},),
    }  # fmt: skip
    return Account(**{**fine, **changes})


def entry(number: int, egress: bool, action: str, **more: Any) -> dict[str, Any]:
    return {"RuleNumber": number, "Egress": egress, "RuleAction": action, "Protocol": "-1",
            "CidrBlock": "0.0.0.0/0", **more}  # fmt: skip


def acl(*entries: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return ({"NetworkAclId": "acl-1", "Associations": [{"SubnetId": "subnet-2"}],
             "Entries": list(entries)},)  # fmt: skip


CLOSED = {"Protocol": "6", "PortRange": {"From": 522, "To": 522}}


@pytest.mark.parametrize(
    ("key", "mend", "account"),
    [
        ("instance", "aws ec2 start-instances --instance-ids i-1",
         books(instance={"InstanceId": "i-1", "State": {"Name": "stopped"}})),
        ("igw", "aws ec2 attach-internet-gateway --internet-gateway-id igw-9 --vpc-id vpc-1",
         books(gateways=({"InternetGatewayId": "igw-9", "Attachments": []},))),
        ("routes", "aws ec2 replace-route --route-table-id rtb-1 --destination-cidr-block 0.0.0.0/0"
         " --gateway-id igw-1", books(tables=({"RouteTableId": "rtb-1", "Associations": [
             {"Main": True}], "Routes": [{"DestinationCidrBlock": "0.0.0.0/0",
                                          "NatGatewayId": "nat-1", "State": "active"}]},))),
        ("nacl", "aws ec2 delete-network-acl-entry --network-acl-id acl-1 --ingress"
         " --rule-number 90", books(acls=acl(entry(90, False, "deny", **CLOSED),
                                             entry(100, False, "allow"),
                                             entry(100, True, "allow")))),
        ("nacl", "aws ec2 create-network-acl-entry --network-acl-id acl-1 --egress --rule-number 90"
         " --protocol -1 --rule-action allow --cidr-block 0.0.0.0/0",
         books(acls=acl(entry(100, False, "allow"), entry(32767, True, "deny")))),
        ("source-check", "aws ec2 modify-network-interface-attribute --network-interface-id eni-2"
         " --no-source-dest-check", books(tables=({"RouteTableId": "rtb-1", "Associations": [
             {"Main": True}], "Routes": [
                 {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"},
                 {"DestinationCidrBlock": "10.9.0.0/24", "NetworkInterfaceId": "eni-2"}]},))),
        ("eni", "aws ec2 attach-network-interface --network-interface-id eni-2 --instance-id i-1"
         " --device-index 1",
         books(enis=({"NetworkInterfaceId": "eni-2", "Status": "available"},))),
    ],
)  # fmt: skip
def test_a_station_of_awss(key: str, mend: str, account: Account) -> None:
    count, plain = 1 if key == "eni" else 2, ["10.9.0.0/24"]
    seen = outside.stations(account, ENI, [522], "10.0.2.9", count, untranslated=plain)
    found = Diagnosis("host", explained(seen))
    assert found.cause is not None
    assert (found.cause.key, found.cause.mend) == (key, mend), found.text


def test_a_refused_call_is_a_station_that_was_not_looked_at() -> None:
    account = books(refused={"network_acls": "UnauthorizedOperation: no"}, acls=())
    found = list(outside.stations(account, ENI, [], "10.0.2.9", 2))
    [station] = [each for each in found if each.key == "nacl"]
    assert station.ok is None
    assert "UnauthorizedOperation" in station.seen


def test_a_host_that_does_not_answer_is_no_traceback() -> None:
    def closed(*_: Any) -> Any:
        raise CannotReach("it does not answer", seen="timed out", next="ssh host")

    found = diagnose(Case("host", closed, nobody(), lambda *_: ""))
    assert found.cause is not None
    assert found.cause.key == "root"


def test_the_cause_comes_first_and_what_follows_is_named_so() -> None:
    def failed(key: str) -> Station:
        return Station(key, key, "", "", False)

    found = Diagnosis("host", explained(map(failed, ("ping", "snat", "igw", "routes"))))
    assert [each.key for each in found.findings] == ["igw", "snat", "routes", "ping"]
    assert [each.word for each in found.findings] == ["NOT OK", "NOT OK"] + 2 * ["consequence"]


def test_every_rule_of_what_explains_what_names_stations() -> None:
    for key, causes in BECAUSE.items():
        assert {key, *causes} <= set(ORDER), key
        assert key not in causes, key


RULES = firewall.read(
    "*mangle\n:PREROUTING ACCEPT [0:0]\n:scope - [0:0]\n-A PREROUTING -j scope\n"
    "-A scope -i qg-1 -j MARK --set-xmark 0x2/0xffff\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"
    "-A FORWARD ! -s 10.0.0.0/8 -p tcp -m tcp --dport 22:25 -j ACCEPT\n"
    "-A FORWARD -m mark ! --mark 0x2/0xffff -j ACCEPT\nCOMMIT\n"
)


@pytest.mark.parametrize(
    ("packet", "dropped"),
    [
        (Packet("192.0.2.1", "10.0.0.1", "qg-1", protocol="tcp", port=23), False),
        (Packet("192.0.2.1", "10.0.0.1", "qg-1", protocol="tcp", port=26), True),
        (Packet("10.0.0.9", "10.0.0.1", "qg-1", protocol="tcp", port=23), True),
        (Packet("10.0.0.9", "192.0.2.1", "qr-1"), False),
    ],
)
def test_a_packet_is_led_through_the_rules(packet: Packet, dropped: bool) -> None:
    hooks = (("mangle", "PREROUTING"), ("filter", "FORWARD"))
    assert RULES.passes(packet, *hooks).dropped is dropped


def test_a_trace_tells_who_gets_a_frame_without_a_tag() -> None:
    trace = Said("", 0, "Datapath actions: push_vlan(vid=1,pcp=0),a,pop_vlan,eth1", "")
    assert reaches(trace) == ["eth1"]
    lost = 'bridge("br-x")\n---\n 0. in_port="e",dl_vlan=1, priority 9\n    drop\n'
    assert dropper(lost) == ("br-x", "priority=9,in_port=e,dl_vlan=1")


def test_a_frame_is_told() -> None:
    arp = bytes.fromhex("ffffffffffff0200000000050806000108000604000102000000000" "5" "0a000209"
                        "000000000000" "0a000201")  # fmt: skip
    assert hear.told(arp) == [MAC, "ff:ff:ff:ff:ff:ff", "arp who-has", "10.0.2.9", "10.0.2.1"]


def test_the_look_runs_by_itself_as_a_user_without_rights(tmp_path: Path) -> None:
    program = source().replace("\n", '\nGIVEN = {"outside": "127.0.0.1"}\n', 1)
    done = subprocess.run(
        [sys.executable, "-I", "-"], input=program, capture_output=True, text=True, timeout=60,
        cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = look(json.loads(done.stdout))
    assert found.stations
    assert list(tmp_path.iterdir()) == []
