"""What the instance's metadata is kept from: whoever sends through it, as a tenant's VM does.

An answer with a token goes one hop and no further, and without a token there is no answer (EC2
User Guide, "Use IMDSv2").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from osawslab.aws.facts import Facts
from osawslab.aws.maker import METADATA, Maker
from osawslab.report import Action, Check

WANTED = "tokens required, 1 hop"


def options(facts: Facts) -> Mapping[str, Any]:
    """Give how the instance's metadata can be asked for; as wanted where that is not told."""
    return {**METADATA, **(facts.instance or {}).get("MetadataOptions", {})}


def closed(facts: Facts) -> bool:
    """Say whether nothing behind the instance reads its metadata."""
    has = options(facts)
    return has["HttpEndpoint"] == "disabled" or all(has[key] == METADATA[key] for key in METADATA)


def actions(facts: Facts, maker: Maker) -> Iterator[Action]:
    """Say what closes it."""
    if not closed(facts):
        yield Action(
            "aws",
            "nothing behind the instance reads its metadata",
            "aws ec2 modify-instance-metadata-options --instance-id $INSTANCE"
            " --http-endpoint enabled --http-tokens required --http-put-response-hop-limit 1",
            maker.guard,
        )


def checks(facts: Facts) -> tuple[Check, ...]:
    """Tell where it is open; () where it is not."""
    if closed(facts):
        return ()
    has = options(facts)
    seen = f"tokens {has['HttpTokens']}, hops {has['HttpPutResponseHopLimit']}"
    return (Check("the instance's metadata", WANTED, seen, False, "lab.provision()"),)
