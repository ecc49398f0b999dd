"""What decides about a lab's frames: its tables, AWS's books, what its router has translated."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

from osawslab.errors import BadSetting, LabError
from osawslab.host.ssh import SshHost, quote
from osawslab.observe import deciding, seen, tracked
from osawslab.observe.deciding import Facts, Why
from osawslab.observe.follow import Hop
from osawslab.observe.seen import Seen
from osawslab.observe.state import Sight
from osawslab.steps import sight
from osawslab.steps.site import Site

ENTRIES = 20_000  # of connection tracking that are read: a busy router has more than anybody reads


def tracking(host: SshHost, found: Sight) -> tuple[tracked.Translation, ...]:
    """Read what the routers of the instance have translated; nothing where the kernel tells none.

    `/proc/net/nf_conntrack` is there or not, as the kernel was built; the program may be there.
    """
    told = {}
    for space in found.spaces:
        if space and found.host.namespace(space).forwards:
            words = f"{{ cat /proc/net/nf_conntrack || conntrack -L; }} 2>&- | head -n {ENTRIES}"
            told[space] = host.run(f"ip netns exec {quote(space)} sh -c {quote(words)}")
    return tracked.read(told)


def of(host: SshHost, found: Sight) -> Facts:
    """Give what decides now. Raises CannotReach."""
    told: tuple[tracked.Translation, ...] = ()
    with contextlib.suppress(LabError):  # the rules are the second source
        told = tracking(host, found)
    return Facts(found, told)


def facts(site: Site) -> Facts:
    """Read EC2 and the instance. Raises StepNotReady before `provision`, CannotReach."""
    return of(site.instance.host, sight.read(site))


def why(site: Site, row: Any) -> Why:
    """Say what decided about a row of a capture's `frame`, or a hop of what was followed.

    Raises BadSetting for something else.
    """
    if isinstance(row, Hop):
        wanted: Seen = row.seen
    elif hasattr(row, "get") and "src_mac" in row:
        wanted = seen.of_row(row)
    else:
        raise BadSetting(
            "that is no row of a capture",
            seen=f"a {type(row).__name__}",
            next="lab.why(capture.frame.iloc[0]), or lab.why(capture.follow().hops[0])",
        )
    known = facts(site)
    if deciding.ACL in wanted.verdict:  # rare: nobody else asks EC2 for them
        known = replace(known, acls=acls(site))
    return deciding.why(known, wanted)


def acls(site: Site) -> dict[str, list[Any]]:
    """Read the rules of the network ACL that holds at each NIC's subnet."""
    found = {}
    for role, nic in site.instance.ec2.nics.items():
        at = [{"Name": "association.subnet-id", "Values": [str(nic["SubnetId"])]}]
        told = site.ec2.describe_network_acls(Filters=at)["NetworkAcls"]
        found[f"{role} NIC"] = [entry for acl in told for entry in acl["Entries"]]
    return found
