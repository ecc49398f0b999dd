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
from stranger import ANSWERED, ENI, MAC, ROUTER, link, look, said, several, told

from osawslab.clinic import outside
from osawslab.clinic.account import Account, short
from osawslab.clinic.case import Case
from osawslab.clinic.diagnosis import diagnose, nobody
from osawslab.clinic.source import source
from osawslab.clinic.station import BECAUSE, ORDER, Diagnosis, Station, explained
from osawslab.errors import CannotReach


def test_a_strangers_sound_host_has_no_finding() -> None:
    found = look(told())
    assert found.ok, found.text
    assert "nothing is wrong" in found.headline
    assert json.dumps(found.data)
    assert found._repr_html_()


UNITS = (
    "Id=neutron-l3-agent.service\nLoadState=loaded\nActiveState=failed\nUnitFileState=enabled\n"
    "Type=simple\n\nId=nova-compute.service\nLoadState=loaded\nActiveState=inactive\n"
    "UnitFileState=enabled\nType=notify\n\nId=ovs-record.service\nLoadState=loaded\n"
    "ActiveState=inactive\nUnitFileState=enabled\nType=oneshot\n"
)


def unit(name: str, active: str, enabled: str = "enabled", loaded: str = "loaded") -> str:
    return (f"Id={name}.service\nLoadState={loaded}\nActiveState={active}\n"
            f"UnitFileState={enabled}\nType=simple\n\n")  # fmt: skip


AGENT = "neutron-openvswitch-agent"


@pytest.mark.parametrize(
    ("units", "seen", "mend"),
    [
        (unit(AGENT, "inactive", "disabled"), f"{AGENT}.service is inactive, disabled",
         f"sudo systemctl enable {AGENT}.service && sudo systemctl restart {AGENT}.service"),
        (unit(AGENT, "inactive", "masked", "masked"), f"{AGENT}.service is inactive, masked",
         f"sudo systemctl unmask {AGENT}.service && sudo systemctl enable {AGENT}.service"
         f" && sudo systemctl restart {AGENT}.service"),
        (unit("neutron-sriov-nic-agent", "inactive", "disabled"), "1 are as they should be", ""),
        (unit(AGENT, "inactive", "", "not-found"), "1 are as they should be", ""),
    ],
)  # fmt: skip
def test_an_agent_that_is_switched_off_beside_others(units: str, seen: str, mend: str) -> None:
    beside = unit("neutron-l3-agent", "active")
    found = look(told(said={"units": said(units + beside)}))
    [station] = [each for each in found.stations if each.key == "services"]
    if mend:
        assert (station.failed, station.seen, station.mend) == (True, seen, mend)
    else:
        assert station.ok
    alone = look(told(said={"units": said(units)}))  # a host that is no network node
    assert alone.ok, alone.text


TBF = {"kind": "tbf", "dev": "ens6", "root": True, "options": {"rate": 12_500_000}}
HTB = {"kind": "htb", "dev": "ens6", "root": True, "options": {"default": "0x1"}}


@pytest.mark.parametrize(
    ("qdisc", "classes", "ok", "seen"),
    [
        ({"kind": "fq_codel", "dev": "ens6"}, "", True, "fq_codel"),
        ({"kind": "netem", "dev": "ens6"}, "", False, "netem"),
        (TBF, "", None, "cannot be judged: tbf at 100000000 bit/s"),
        ({**TBF, "options": {"rate": 1000}}, "", False, "tbf at 8000 bit/s"),
        (HTB, "class htb 1:1 root prio 0 rate 8Kbit ceil 1Gbit", False, "htb at 8000 bit/s"),
        (HTB, "class htb 1:1 root prio 0 rate 1Gbit ceil 1Gbit", None,
         "cannot be judged: htb at 1000000000 bit/s"),
        ({**HTB, "kind": "new"}, "", None, "cannot be judged: new"),
    ],
)  # fmt: skip
def test_a_queue(qdisc: dict[str, Any], classes: str, ok: bool | None, seen: str) -> None:
    found = look(told(said={"|qdisc": said([qdisc]), "|class|ens6": said(classes)}))
    [station] = [each for each in found.stations if each.key == "nic-queue"]
    assert (station.ok, station.seen) == (ok, seen)
    assert ("ens6" in found.headline) is (ok is not True)


@pytest.mark.parametrize(
    ("route", "ok"),
    [
        ({"dst": "10.8.0.0/16", "gateway": "10.9.0.7", "dev": "qr-x"}, None),
        ({"type": "blackhole", "dst": "10.0.0.0/8"}, None),
        ({"type": "unreachable", "dst": "64.0.0.0/2"}, False),
        ({"dst": "10.9.0.0/24", "dev": "qr-x", "protocol": "kernel"}, True),
    ],
)
def test_a_route_besides(route: dict[str, Any], ok: bool | None) -> None:
    facts = told()
    ways = json.loads(facts["said"][f"{ROUTER}|routes"]["out"])
    facts["said"][f"{ROUTER}|routes"] = said([*ways, route])
    found = look(facts)
    words = [each.ok for each in found.stations if each.key == "policy"]
    assert words == ([True] if ok else [True, ok])


def test_a_rule_that_cannot_be_judged_is_no_finding_and_not_healthy_either() -> None:
    saved = (
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o qg-x -j MASQUERADE\nCOMMIT\n*filter\n"
        ":FORWARD ACCEPT [0:0]\n-A FORWARD -m set --match-set bad src -j DROP\nCOMMIT\n"
    )
    found = look(told(said={f"{ROUTER}|iptables": said(saved)}))
    assert found.ok
    assert "only real packets can judge" in found.headline
    [station] = [each for each in found.stations if each.key == "filter" and each.ok is None]
    assert "--match-set bad" in station.seen


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


def test_what_is_no_router_s_host_is_not_called_broken() -> None:
    none = {"netns": ["ovnmeta-1"], "spaces": ["", "ovnmeta-1"]}
    for changes in (
        none,
        {"netns": [], "spaces": [""], "said": {"units": said(unit("ovn-controller", "active"))}},
    ):
        found = look(told(**changes))
        [station] = [each for each in found.stations if each.key == "namespace"]
        assert station.ok is None
        assert "OVN" in station.seen
    other = {"units": said(unit("nova-compute", "active"))}
    found = look(told(netns=[], spaces=[""], said=other))
    assert found.cause is not None
    assert (found.cause.key, found.cause.mend) == ("namespace", "")  # there is no such agent


def test_what_is_too_much_to_look_into_is_said() -> None:
    found = look(told(netns=[ROUTER, *(f"qrouter-{at}" for at in range(2, 30))]))
    [station] = [each for each in found.stations if each.key == "namespace" and each.ok is None]
    assert station.seen.startswith("could not look: 28 too many, qrouter-2")
    assert "other namespaces" in found.headline


PUBLISHED = "-A PREROUTING -d 10.0.2.9/32 -p tcp --dport 522 -j DNAT --to-destination 10.9.0.5:22\n"


def lets(source: str) -> dict[str, Any]:
    """Build the books of an account whose group lets a source in."""
    every = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    tcp = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 522, "IpRanges": [{"CidrIp": source}]}
    eni = {
        "NetworkInterfaceId": "eni-2", "MacAddress": MAC, "SubnetId": "subnet-2", "VpcId": "vpc-1",
        "Attachment": {"DeviceIndex": 1}, "Status": "in-use", "Groups": [{"GroupId": "sg-1"}],
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.2.9",
                                "Association": {"PublicIp": "192.0.2.1"}}],
    }  # fmt: skip
    group = {"GroupId": "sg-1", "IpPermissions": [tcp], "IpPermissionsEgress": [every]}
    subnet = {"SubnetId": "subnet-2", "CidrBlock": "10.0.2.0/24"}
    return {"enis": (eni,), "groups": (group,), "subnets": (subnet,)}


CAME = ["ens6", "in", "02:00:00:00:00:01", MAC, "tcp syn 522", "192.0.2.77", "10.0.2.9"]
LEFT = ["ens6", "out", MAC, "02:00:00:00:00:01", "tcp syn-ack 522", "10.0.2.9", "192.0.2.77"]
OTHERS = [["ens5", *CAME[1:]], [*CAME[:4], "tcp syn 22", *CAME[5:]]]


@pytest.mark.parametrize(
    ("client", "source", "heard", "keys", "seen"),
    [
        ("192.0.2.77", "0.0.0.0/0", [], ["outside"], "nothing of it came to ens6"),
        ("192.0.2.77", "192.0.2.0/25", [], ["outside"], "nothing of it came to ens6"),
        ("192.0.2.77", "198.51.100.0/24", [], ["group"], ""),
        ("10.7.0.1", "198.51.100.0/24", [], [], ""),  # who comes by a VPN is not judged
        ("192.0.2.77", "", OTHERS, [], ""),
        ("192.0.2.77", "", [*OTHERS, CAME], ["outside"], "and no answer left there"),
        ("192.0.2.77", "", [CAME, LEFT], ["outside"], "and its answer left there"),
    ],
)
def test_who_comes_from_elsewhere_is_let_in_or_not(
    client: str, source: str, heard: list[list[str]], keys: list[str], seen: str
) -> None:
    def dead(*_: Any) -> str:
        raise TimeoutError("timed out")

    facts = several("10.0.2.9/24", saved=PUBLISHED)
    facts["client"] = client
    facts["said"][f"{ROUTER}|guest|10.9.0.5"] = ANSWERED
    facts["said"][f"{ROUTER}|server|10.9.0.5|22"] = said("SSH-2.0-x")
    account = books(**lets(source)) if source else Account()

    def host(program: str, _: Any) -> Any:
        return facts if "def trials" in program else heard

    found = diagnose(Case("host", host, lambda *_: account, dead))
    assert [each.key for each in found.findings] == keys, found.text
    if not keys:
        assert "192.0.2.1:522 answers from here" in found.headline
        assert "nothing is wrong" not in found.headline
    elif seen:
        assert found.cause is not None
        assert found.cause.seen.endswith(seen)


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
    seen = outside.stations(account, ENI, [522], ["10.0.2.9"], count, untranslated=plain)
    found = Diagnosis("host", explained(seen))
    assert found.cause is not None
    assert (found.cause.key, found.cause.mend) == (key, mend), found.text


def test_evidence_is_whole_and_json_where_the_tool_says_json() -> None:
    facts = told(heard=[["ens6", "out", MAC, "ff:ff:ff:ff:ff:ff", "arp who-has", "a", "b"]])
    links = json.loads(facts["said"]["|links"]["out"])
    many = [link(f"dummy{at}", "02:00:00:00:01:00", kind="dummy") for at in range(50)]
    facts["said"]["|links"] = said(many + links)
    found = look(facts).data["stations"]
    evidence = {key: [each["evidence"] for each in found if each["station"] == key]
                for key in ("nic-up", "ping", "gateway-mac")}  # fmt: skip
    assert len(json.loads(evidence["nic-up"][0][0]["output"])) == 54
    heard = json.loads(evidence["ping"][0][1]["output"])
    assert heard[0]["what"] == "arp who-has"
    commands = [each["command"] for rows in evidence.values() for row in rows for each in row]
    assert not any("tcpdump" in each for each in commands)
    assert "X-aws-ec2-metadata-token: " in evidence["gateway-mac"][0][1]["command"]
    big = [{"RouteTableId": f"rtb-{at}"} for at in range(500)]
    assert len(json.loads(short(big))) == 500


def test_a_refused_call_is_a_station_that_was_not_looked_at() -> None:
    account = books(refused={"network_acls": "UnauthorizedOperation: no"}, acls=())
    found = list(outside.stations(account, ENI, [], ["10.0.2.9"], 2))
    [station] = [each for each in found if each.key == "nacl"]
    assert station.ok is None
    assert "UnauthorizedOperation" in station.seen


def test_a_host_that_does_not_answer_is_no_traceback() -> None:
    def closed(*_: Any) -> Any:
        raise CannotReach("it does not answer", seen="timed out", next="ssh host")

    found = diagnose(Case("host", closed, nobody(), lambda *_: ""))
    assert found.cause is not None
    assert found.cause.key == "root"


def test_an_elastic_ip_on_a_second_address_stays_where_a_host_does_not_answer() -> None:
    def closed(*_: Any) -> Any:
        raise CannotReach("it does not answer", seen="timed out", next="ssh host")

    pairs = [
        {"PrivateIpAddress": "10.0.2.9"},
        {"PrivateIpAddress": "10.0.2.10", "Association": {"PublicIp": "192.0.2.9"}},
    ]
    enis = ({
        "NetworkInterfaceId": "eni-2", "MacAddress": MAC, "SubnetId": "subnet-2", "VpcId": "vpc-1",
        "Attachment": {"DeviceIndex": 1}, "PrivateIpAddresses": pairs, "Status": "in-use",
    },)  # fmt: skip
    asked = lambda *_: books(enis=enis)  # noqa: E731
    found = diagnose(Case("host", closed, asked, lambda *_: "", "192.0.2.9"))
    assert [each.key for each in found.findings] == ["root"], found.text


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
