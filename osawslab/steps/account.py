"""The account that a lab was made in: noted on disk, for tags are seen from inside it only."""

from __future__ import annotations

from osawslab.errors import StepNotReady
from osawslab.steps.site import Site

NOTE = "account"  # the file in the lab's folder


def same_account(site: Site) -> str:
    """Give the account's number, "" where nothing is charged for. Raises StepNotReady in another
    one than the lab was made in: there it would seem to be gone.
    """
    if not site.target.charges:
        return ""
    path = site.target.keys / NOTE
    here = str(site.target.client("sts").get_caller_identity()["Account"])
    made_in = path.read_text().strip() if path.exists() else here
    if made_in != here:
        raise StepNotReady(
            f"lab {site.settings.name!r} was made in another AWS account",
            seen=f"account {here}, but the lab is in {made_in}",
            next="unset AWS_ENDPOINT_URL; export AWS_PROFILE=… of that account",
        )
    return here
