"""Claims about what a VPC lets out: the source rules on MAC, ARP and IP."""

from __future__ import annotations

from osawslab.probes import frames
from osawslab.probes.claim import Answer, Claim, CouldNotTry
from osawslab.probes.frames import FOREIGN
from osawslab.probes.ground import PATIENCE, SILENCE, Ground

RULE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/infrastructure-security.html"


def foreign_mac(ground: Ground) -> Answer:
    """Ping from the registered IP with a MAC that nobody has, and send it to a neighbour."""
    ground.control()
    ground.neighbour()
    pair = FOREIGN, ground.provider.address
    answered = ground.pings(pair, SILENCE)
    arrived = ground.arrives(pair)
    return Answer(not answered and not arrived, _words(answered, arrived))


def _words(answered: bool, arrived: bool) -> str:
    return (
        f"a ping of the internet {'is' if answered else 'is not'} answered;"
        f" a datagram to the neighbour {'arrives' if arrived else 'does not arrive'}"
    )


def foreign_arp(ground: Ground) -> Answer:
    """Ask who-has in a frame with a MAC that nobody has; the registered pair is answered.

    One of the two tells the registered MAC inside, where an answer would be sent to.
    """
    router = ground.site.settings.provider_gateway
    ground.asked(router)
    found = [
        ground.exchange(
            f"ARP who-has {router} from MAC {FOREIGN}, telling {mac}",
            frames.arp(FOREIGN, (mac, ground.provider.address), router),
            frames.arp_answer(router),
            SILENCE,
        )
        for mac in (ground.provider.mac, FOREIGN)
    ]
    return Answer(not any(found), "answered" if any(found) else "not answered")


def foreign_ip(ground: Ground) -> Answer:
    """Send from an IP that nobody has, with the registered MAC and SourceDestCheck on."""
    ground.neighbour()
    arrived = ground.arrives((ground.provider.mac, ground.free(1)))
    return Answer(not arrived, "it arrives" if arrived else "it does not arrive")


def _off(ground: Ground) -> bool:
    """Say whether SourceDestCheck's being off is seen on the wire, in bounded time."""
    return ground.arrives((ground.provider.mac, ground.free(1)), PATIENCE)


def unchecked_ip(ground: Ground) -> Answer:
    """Send from an IP that nobody has, with SourceDestCheck off."""
    ground.neighbour()
    with ground.unchecked():
        arrived = _off(ground)
    return Answer(arrived, "it arrives" if arrived else "it does not arrive")


def unchecked_mac(ground: Ground) -> Answer:
    """Send with a MAC that nobody has, while SourceDestCheck is seen to be off."""
    ground.neighbour()
    ground.control()
    with ground.unchecked():
        if not _off(ground):
            raise CouldNotTry("SourceDestCheck is off, and changes nothing that can be seen")
        pair = FOREIGN, ground.provider.address
        answered = ground.pings(pair, SILENCE)
        arrived = ground.arrives(pair)
    return Answer(not answered and not arrived, _words(answered, arrived))


CLAIMS = (
    Claim(
        "foreign-mac-dropped", "A frame with a foreign MAC is dropped",
        "silence, and nothing arrives (that it is silent is inferred)", RULE, foreign_mac,
    ),
    Claim(
        "foreign-arp-dropped", "An ARP question with a foreign MAC is dropped",
        "silence (inferred)", RULE, foreign_arp,
    ),
    Claim(
        "foreign-ip-dropped", "A frame with a foreign source IP is dropped, SourceDestCheck on",
        "it does not arrive", RULE, foreign_ip,
    ),
    Claim(
        "foreign-ip-unchecked", "A frame with a foreign source IP passes, SourceDestCheck off",
        "it arrives at a neighbour", RULE, unchecked_ip,
    ),
    Claim(
        "unchecked-mac-dropped", "SourceDestCheck=off does not lift the MAC rule",
        "silence, and nothing arrives (inferred)", RULE, unchecked_mac,
    ),
)  # fmt: skip
