"""Claims about what runs on the instance: the shared MAC, and the metadata service from a VM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from osawslab.host import metadata
from osawslab.probes.claim import Answer, Claim, CouldNotTry, Evidence
from osawslab.probes.ground import Ground
from osawslab.steps import run as steps
from osawslab.steps import work

SHARED = ("install_cloud", "provider_nic", "networks", "swap_mac", "verify")
OPTIONS = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html"


def shared(ground: Ground) -> Answer:
    """Walk the tutorial with the NIC's MAC left alone, as far as its last ping."""
    if ground.driver != "ena":
        raise CouldNotTry(f"the NIC of {ground.type} is no ENA; t3.small's is")
    return _walk(ground, openvswitch=True)


def swapped(ground: Ground) -> Answer:
    """Walk the tutorial as it stands, as far as its last ping."""
    if ground.driver != "vif":
        raise CouldNotTry(f"the NIC of {ground.type} changes no MAC: --instance-type t2.large")
    return _walk(ground)


def _walk(ground: Ground, openvswitch: bool = False) -> Answer:
    for step in SHARED:
        report = steps.run(ground.site, step)
        ground.said += [Evidence(each.where, each.command, "done") for each in report.actions]
        without = step == "install_cloud" and not work.read(ground.site).cloud.uses_openvswitch
        if openvswitch and without:
            raise CouldNotTry("the instance cannot have Open vSwitch")
    ground.said += [Evidence("instance", each.what, each.seen) for each in report.checks]
    return Answer(report.ok, "; ".join(f"{each.what}: {each.seen}" for each in report.checks))


def _asked(ground: Ground) -> dict[str, Any]:
    source = Path(metadata.__file__).read_text()
    words = "ask 169.254.169.254 for a token, from the instance and from a namespace behind it"
    told: dict[str, Any] = ground.script(source, words, peer=ground.site.settings.ping_address)
    if told["token"] != "200":
        raise CouldNotTry(f"169.254.169.254 gives no token: {told['token']}")
    return told


def tokens(ground: Ground) -> Answer:
    """Ask the metadata service with a token and without."""
    told = _asked(ground)["without"]
    return Answer(told == "401", f"without a token: {told}")


def hops(ground: Ground) -> Answer:
    """Ask for a token from where a VM would be."""
    told = _asked(ground)
    if "behind" not in told:
        raise CouldNotTry("the instance has no iptables")
    if told["ping"] != "yes":
        raise CouldNotTry("from behind the instance nothing is reached at all")
    return Answer("timed out" in told["behind"], f"from behind the instance: {told['behind']}")


CLAIMS = (
    Claim(
        "shared-mac-passes", "A shared MAC on ENA passes with Open vSwitch",
        "3 of 3 pings from the router are answered, and no frame is dropped",
        "https://github.com/openshift/machine-config-operator/pull/2941", shared,
    ),
    Claim(
        "swapped-mac-passes", "The tutorial's swap passes on a Xen NIC, SourceDestCheck on",
        "3 of 3 pings from the router are answered, and no frame is dropped",
        "https://superuser.openstack.org/articles/deploying-openstack-aws-tutorial/", swapped,
    ),
    Claim(
        "metadata-wants-token", "The metadata service answers nobody without a token",
        "401, as the launch asks for it (HttpTokens=required)", OPTIONS, tokens,
    ),
    Claim(
        "metadata-one-hop", "A VM on the instance gets no token: the metadata hop limit is 1",
        "no answer in time from a namespace behind the instance", OPTIONS, hops,
    ),
)  # fmt: skip
