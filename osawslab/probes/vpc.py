"""Claims about the VPC: ARP, broadcast, DHCP, Elastic IPs, and EC2's own words."""

from __future__ import annotations

import time

from osawslab.aws.inquiry import Refusal
from osawslab.probes import frames
from osawslab.probes.claim import Answer, Claim, CouldNotTry
from osawslab.probes.frames import BROADCAST, FOREIGN
from osawslab.probes.ground import PATIENCE, SILENCE, Ground

MULTICAST = ("01:00:5e:00:00:fb", "224.0.0.251")  # mDNS (RFC 6762)


def arp(ground: Ground) -> Answer:
    """Ask for the router, for a neighbour, and for nobody; listen at the neighbour too."""
    router = ground.asked(ground.site.settings.provider_gateway)
    witness, nobody = ground.witness, ground.free(1)
    told = ground.asked(witness.address)
    heard = _who_has(ground, witness.address, frames.arp_question(witness.address), witness.mac)
    free = _who_has(ground, nobody, frames.arp_answer(nobody))
    seen = (
        f"the router says {router}; the neighbour's MAC is {told}, registered {witness.mac};"
        f" the neighbour {'hears' if heard else 'does not hear'} the question;"
        f" for nobody's address {'an answer' if free else 'silence'}"
    )
    return Answer(told == witness.mac and not heard and not free, seen)


def _who_has(ground: Ground, address: str, match: frames.Match, listen: str = "") -> bool:
    frame = frames.arp(ground.provider.mac, ground.provider.pair, address)
    return bool(ground.exchange(f"ARP who-has {address}", frame, match, SILENCE, listen))


def gratuitous(ground: Ground) -> Answer:
    """Claim our address for a foreign MAC, and the neighbour's for ours; then look again."""
    ground.control()
    ground.neighbour()
    ours, theirs = ground.provider, ground.witness
    for sender in ((FOREIGN, ours.address), (ours.mac, theirs.address)):
        ground.exchange(
            f"gratuitous ARP: {sender[1]} is at {sender[0]}",
            frames.arp(sender[0], sender, sender[1], 2),
            frames.arp_answer(sender[1]),
            SILENCE,
        )
    told = ground.asked(theirs.address)
    answered = ground.pings(ours.pair, PATIENCE)
    arrived = ground.arrives(ours.pair)
    seen = (
        f"the neighbour's MAC is {told}, registered {theirs.mac}; our pings are"
        f" {'' if answered else 'not '}answered;"
        f" a datagram to it {'arrives' if arrived else 'does not arrive'}"
    )
    return Answer(told == theirs.mac and answered and arrived, seen)


def oneself(ground: Ground) -> Answer:
    """Ask for our own address, as gratuitous ARP does: a switch would learn from an answer."""
    told = ground.asked(ground.site.settings.provider_gateway)
    ours = ground.provider.address
    answered = _who_has(ground, ours, frames.arp_answer(ours))
    words = "an answer" if answered else "silence"
    return Answer(not answered, f"the router says {told}; for our own address {words}")


def broadcast(ground: Ground) -> Answer:
    """Send to everybody, and to a group; the neighbour listens."""
    ground.neighbour()
    ours = ground.provider.pair
    everybody = ground.arrives(ours, to=(BROADCAST, "255.255.255.255"))
    group = ground.arrives(ours, to=MULTICAST)
    words = {True: "arrives", False: "does not arrive"}
    return Answer(
        not everybody and not group,
        f"broadcast {words[everybody]}; multicast {words[group]}",
    )


def dhcp(ground: Ground) -> Answer:
    """Give the NIC a second address, and ask DHCP for any and for that one."""
    nic, second = ground.provider, ground.free(2)
    given = {"NetworkInterfaceId": nic.id, "PrivateIpAddresses": [second]}
    ground.must("assign_private_ip_addresses", **given)
    try:
        offers = [_offer(ground), _offer(ground, second)]
    finally:
        ground.ask("unassign_private_ip_addresses", **given)
    seen = f"asked for any: {offers[0] or 'no offer'}; asked for {second}: {offers[1] or 'none'}"
    if not offers[0]:
        raise CouldNotTry("nobody answers DHCP")
    return Answer(offers[0] == nic.address and offers[1] != second, seen)


def _offer(ground: Ground, wanted: str = "") -> str:
    number, mac = ground.number(), ground.provider.mac
    words = f"DHCPDISCOVER{' for ' if wanted else ''}{wanted} from {mac}"
    frame = frames.discover(mac, number, wanted)
    found = ground.exchange(words, frame, frames.offer(number), 2 * SILENCE)
    return frames.offered(found) if found else ""


def elastic(ground: Ground) -> Answer:
    """Take the NIC's Elastic IP away and give it back; ping the internet each time."""
    ground.control()
    address = ground.facts.addresses["provider"]
    told = ground.must("describe_addresses", AllocationIds=[address["AllocationId"]])
    ground.must("disassociate_address", AssociationId=told["Addresses"][0]["AssociationId"])
    try:
        end = time.monotonic() + PATIENCE
        while (still := ground.pings(ground.provider.pair, SILENCE)) and time.monotonic() < end:
            pass  # each ping takes its time
    finally:
        ground.must(
            "associate_address",
            AllocationId=address["AllocationId"],
            NetworkInterfaceId=ground.provider.id,
            PrivateIpAddress=ground.provider.address,
        )
    again = ground.pings(ground.provider.pair, PATIENCE)
    words = {True: "answered", False: "not answered"}
    return Answer(not still and again, f"without: {words[still]}; with it again: {words[again]}")


OUTSIDE = "Address {} does not fall within the subnet's address range"


def refusal(ground: Ground) -> Answer:
    """Ask for an address outside of the NIC's subnet, as the notebook on the swap does."""
    wanted = ground.site.settings.vm_address
    given = {"NetworkInterfaceId": ground.provider.id, "PrivateIpAddresses": [wanted]}
    told = ground.ask("assign_private_ip_addresses", **given)
    if not isinstance(told, Refusal):
        ground.ask("unassign_private_ip_addresses", **given)
        return Answer(False, "accepted")
    return Answer(str(told) == f"InvalidParameterValue: {OUTSIDE.format(wanted)}", str(told))


CLAIMS = (
    Claim(
        "arp-by-the-vpc", "ARP is answered by the VPC, for registered addresses only",
        "registered MACs; the neighbour hears no question; silence for nobody's address",
        "https://blogs.oracle.com/ravello/advanced-enterprise-networking-in-aws-ec2", arp,
    ),
    Claim(
        "gratuitous-arp", "Gratuitous ARP moves nothing",
        "the registered MACs stay, and traffic goes where it went",
        "https://repost.aws/articles/ARsWC8hyOHQAyoriwvxrA_KQ", gratuitous,
    ),
    Claim(
        "own-arp-unanswered", "ARP for an ENI's own address is not answered to that ENI",
        "silence, as a host does not answer itself (inferred)",
        "https://www.rfc-editor.org/rfc/rfc5227", oneself,
    ),
    Claim(
        "no-broadcast", "Broadcast and multicast are not delivered",
        "neither arrives at a neighbour",
        "https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html", broadcast,
    ),
    Claim(
        "no-dhcp-for-secondary", "DHCP offers no secondary private address",
        "the primary address, whichever was asked for (inferred)",
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/MultipleIP.html", dhcp,
    ),
    Claim(
        "elastic-ip-first", "Without an Elastic IP the internet does not answer; with one it does",
        "silence without, an answer after its association",
        "https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Internet_Gateway.html", elastic,
    ),
    Claim(
        "words-of-a-refusal", "EC2 refuses an address outside of the subnet in these words",
        f"InvalidParameterValue: {OUTSIDE.format('…')}",
        "https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssignPrivateIpAddresses.html",
        refusal,
    ),
)  # fmt: skip
