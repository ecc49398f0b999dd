"""Whose a lab is: the account, the machine and the region that it was made in.

Tags say what belongs to a lab, but only in the place that one looks at. A lab that is looked for
in the wrong place seems to be gone, and goes on costing money in the right one.
"""

from __future__ import annotations

from collections.abc import Sequence

from osawslab.aws import estate
from osawslab.aws.estate import Thing
from osawslab.aws.facts import Facts
from osawslab.errors import StepNotReady, writing
from osawslab.keys import keep, key_file
from osawslab.steps import tear_down
from osawslab.steps.account import NOTE, same_account
from osawslab.steps.site import Site


def note(site: Site) -> None:
    """Note the account, before anything is made in it. Raises StepNotReady in another one."""
    here = same_account(site)
    if here:
        path = site.target.keys / NOTE
        with writing(path):
            keep(path, here)


def made_here(site: Site, things: Sequence[Thing]) -> None:
    """Refuse to end a lab that this machine has not made. Raises StepNotReady.

    In an account that several share, a lab of the same name may well be another's.
    """
    name, path = site.settings.name, site.target.keys / NOTE
    if site.target.charges and things and not path.exists():
        raise StepNotReady(
            f"lab {name!r} was not made on this machine",
            seen=f"{', '.join(thing.id for thing in things)}, but no {path}",
            next="if it is yours: lab.tear_down(mine=True),"
            f" or ./lab down --target aws --name {name}",
        )


def own_key(site: Site, facts: Facts) -> None:
    """Refuse a lab whose key is on another machine. Raises StepNotReady."""
    path = key_file(site.target.keys)
    if facts.key is not None and not path.exists():
        name = site.settings.name
        raise StepNotReady(
            f"lab {name!r} was made on another machine: its key is not on this one",
            seen=f"{facts.key['KeyName']} in EC2, but no {path}",
            next='copy the key from there, or take another name, such as name = "mine";'
            " if the lab is yours: lab.tear_down(mine=True)",
        )


def nowhere_else(site: Site) -> None:
    """Refuse to make a lab twice, in two regions. Raises StepNotReady."""
    name = site.settings.name
    for region, ec2 in tear_down.clients(site).items():
        if region != site.ec2.meta.region_name and estate.read(ec2, name):
            raise StepNotReady(
                f"lab {name!r} is in another region already",
                seen=region,
                next=f'region = "{region}"; or lab.tear_down(), which ends it there too',
            )
