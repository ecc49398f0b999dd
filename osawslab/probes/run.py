"""Run the probes: a lab of their own, agreed to before and given back after, whatever happens."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from urllib.parse import urlsplit

from osawslab.errors import StepNotReady
from osawslab.keys import keep
from osawslab.probes import inside, nic, source, vpc
from osawslab.probes.claim import Claim, Finding
from osawslab.probes.findings import AWS, STAND_IN, Findings
from osawslab.probes.ground import Ground
from osawslab.probes.verified import told
from osawslab.report import Report
from osawslab.steps import bill, ownership
from osawslab.steps import run as steps
from osawslab.steps.account import NOTE
from osawslab.steps.site import Site

NAME = "probe"  # the lab's
INSTANCE_TYPE = "t3.small"  # three NICs, and the driver that every newer type has
HOURS = 2  # that are agreed to: one of the instance, and one of a second, should AWS launch it
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
FIXED = {"cloud": "handbuilt", "bridge": "auto", "strategy": "auto", "image": "debian"}
MARK = "probing"  # the file that says that the lab is a probe's
# In this order: what looks only, what is undone at once, and at last what changes the instance.
CLAIMS: tuple[Claim, ...] = (*nic.CLAIMS, *source.CLAIMS, *vpc.CLAIMS, *inside.CLAIMS)


def place(site: Site) -> str:
    """Say whether EC2 is AWS's own, by its endpoint."""
    host = urlsplit(str(site.ec2.meta.endpoint_url)).hostname or ""
    return AWS if host.endswith((".amazonaws.com", ".amazonaws.com.cn")) else STAND_IN


def begin(site: Site) -> None:
    """Agree to the price; give back what a probe has left, and touch nobody else's lab.

    Raises PriceNotConfirmed, NoPrice, StepNotReady.
    """
    mark = site.target.keys / MARK
    with steps.own_errors("probe"):
        bill.agree(site, snapshot=False)
        have = site.read_ec2()
    if have.vpc or have.instance or have.addresses:
        if not mark.exists():
            raise StepNotReady(
                f"there is a lab {site.settings.name!r} that no probe of this machine has made",
                seen=str((have.vpc or have.instance or {}).get("VpcId", "its addresses")),
                next=f"if it is yours: ./lab down --name {site.settings.name}",
            )
        give_back(site)
    keep(mark, "a lab of the probes'\n")


def give_back(site: Site) -> Report:
    """Give everything back, and look that nothing is left; the mark goes when that is seen."""
    site.forget()
    with steps.own_errors("probe"):
        ownership.note(site)  # it was made here: so the mark says
    report = steps.run(site, "tear_down")
    if report.ok:
        for name in (NOTE, MARK):
            (site.target.keys / name).unlink(missing_ok=True)
    return report


def given_back(site: Site) -> bool:
    """Say whether nothing is left of the lab that `begin` has begun."""
    return not (site.target.keys / MARK).exists()


def run(site: Site) -> Findings:
    """Try the claims in the lab that `begin` has begun, and give it back, also after Ctrl-C.

    Raises what `provision` and `tear_down` raise.
    """
    found: list[Finding] = []
    try:
        report = steps.run(site, "provision")
        if failed := report.failed:
            raise StepNotReady(
                f"the probes' lab does not hold: {failed.what}", seen=failed.seen, next=failed.next
            )
        ground = Ground(site)
        site.progress.start("probe", len(CLAIMS))
        for claim in CLAIMS:
            site.progress.action(claim.words, where="instance", command=claim.key)
            with steps.own_errors("probe"):
                found.append(ground.attempt(claim))
        site.progress.done("done")
    finally:
        for host in site.hosts.values():
            host.close()
        ended = give_back(site)
    return Findings(
        place=place(site),
        region=site.settings.region,
        instance_type=site.settings.instance_type,
        debian=site.settings.debian,
        date=datetime.now(UTC).isoformat("T", "seconds"),
        findings=tuple(found),
        left=tuple(f"{check.what}: {check.seen}" for check in ended.checks if not check),
        spare=(site.settings.ping_address,),
        secrets=tuple(os.environ.get(name, "") for name in SECRETS),
    )


def table() -> str:
    """Write the table of claims as Markdown, for the README."""
    rows = [
        f"| {each.words} | {each.expected} ([source]({each.source})) | {told(each.key)} |"
        for each in CLAIMS
    ]
    return "\n".join(["| claim | expected | verified on AWS |", "|---|---|---|", *rows]) + "\n"
