"""What EC2 has of a lab that leads nowhere: made twice, for an answer was lost, or left over."""

from __future__ import annotations

from osawslab.aws import estate
from osawslab.aws.facts import Facts
from osawslab.report import Action
from osawslab.steps import tear_down
from osawslab.steps.site import Site


def actions(site: Site, facts: Facts) -> tuple[Action, ...]:
    """Give it back."""
    if not facts.idle:
        return ()
    mine = estate.read(site.ec2, site.settings.name)
    return tear_down.actions(tuple(thing for thing in mine if thing.id in facts.idle))


def none(site: Site) -> bool:
    """Say whether EC2 shows the lab whole and nothing besides; what was made twice is given back.

    A creating call without a token makes a second thing where botocore repeats it.
    """
    facts = site.read_ec2()
    for action in actions(site, facts):
        action.do()
    return facts.whole and not facts.idle
