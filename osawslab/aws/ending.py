"""The end of a lab that costs money: its instance powers itself off, and EC2 terminates it.

The end is a file in the folder that cloud-init gives to one instance, so an image of it has none.
A script of cloud-init's `scripts/per-boot` watches it: a reboot, a clock that is set and an end
that is put off change nothing. The instance's tag says the same to who asks EC2. Nothing of it
needs the machine that the lab was made on.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any

from osawslab.aws.facts import Facts, Resource, tag

END = "osawslab:end"  # the tag of the instance: when it ends itself, ISO 8601 in UTC
BEHAVIOR = "terminate"  # InstanceInitiatedShutdownBehavior
ITSELF = "Client.InstanceInitiatedShutdown"  # StateReason, of one that did
FILE = "/var/lib/cloud/instance/osawslab-end"  # seconds since 1970
WATCH = "/var/lib/cloud/scripts/per-boot/osawslab-end"
GRACE = 600  # seconds, for one that was off when its end came: time to put it off

# In a service of its own where there is systemd: cloud-init's own may end what it has begun.
SCRIPT = f"""\
#!/bin/sh
# End this instance at the time in the file; lab.extend() writes a later one.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
end=0
over() {{  # without the file, as while an image is made, the end stays what it was
  new=$(cat {FILE} 2> /dev/null)
  case $new in ""|*[!0-9]*) ;; *) end=$new ;; esac
  left=$((end - $(date +%s)))
  [ "$left" -le 0 ]
}}
if [ "$1" = watch ]; then
  over && sleep {GRACE}
  until over; do
    sleep $((left < 20 ? left : 20))
  done
  poweroff
  sleep 300
  poweroff -f
elif [ -e {FILE} ] && [ -d /run/systemd/system ]; then
  systemd-run --quiet --collect --unit=osawslab-end "$0" watch
elif [ -e {FILE} ]; then
  "$0" watch < /dev/null > /dev/null 2>&1 &
fi
"""


def clock(answer: Resource) -> datetime | None:
    """Read EC2's clock from an answer of its; None where it has no date."""
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    return parsedate_to_datetime(date) if date else None


def after(hours: Decimal | None, answer: Resource) -> datetime | None:
    """Say when so many hours are over, by EC2's clock in an answer; None for no end."""
    if hours is None:
        return None
    return (clock(answer) or datetime.now(UTC)) + span(hours)


def span(hours: Decimal) -> timedelta:
    """Give hours as a length of time."""
    return timedelta(seconds=float(hours * 3600))


def text(end: datetime | None) -> str:
    """Write an end as its tag has it; "" for none."""
    return end.astimezone(UTC).isoformat("T", "seconds") if end else ""


def read(text: str) -> datetime | None:
    """Read a time, ISO 8601, UTC where it names no zone; None for what is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def of(instance: Resource | None) -> datetime | None:
    """Say when an instance ends itself; None where it has no end."""
    return read(tag(instance, END)) if instance else None


def tags(end: datetime | None) -> list[dict[str, str]]:
    """Give the tag that says when an instance ends itself; none for no end."""
    return [{"Key": END, "Value": text(end)}] if end else []


def putting_off(end: datetime) -> str:
    """Give the command of root's that puts the end of the instance off."""
    new = f"{FILE}.new"
    return f"test -x {WATCH} && echo {int(end.timestamp())} > {new} && mv {new} {FILE}"


def left(end: datetime, now: datetime) -> str:
    """Say how much time is left.

    >>> now = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    >>> left(now + timedelta(minutes=174), now), left(now, now + timedelta(1))
    ('2 h 54 min', '0 h 00 min')
    """
    minutes = max(0, int((end - now).total_seconds() // 60))
    return f"{minutes // 60} h {minutes % 60:02} min"


def told(facts: Facts, noted: dict[str, Any]) -> str:
    """Say that the lab's instance has ended itself; "" where it has not, or nobody knows.

    EC2 shows it for about an hour; later only `noted` knows, what this machine has kept.
    """
    if facts.instance is not None or facts.vpc is None:
        return ""
    gone = facts.gone  # which was the last: there is no other
    if gone and gone.get("StateReason", {}).get("Code") == ITSELF:
        end = of(gone)
        if end is None or datetime.now(UTC) < end:
            return f"{gone['InstanceId']} was shut down from inside ({ITSELF})"
        return f"{gone['InstanceId']} ended itself: the planned hours were over at {text(end)}"
    end = read(str(noted.get("end", "")))
    if gone or end is None or datetime.now(UTC) < end:
        return ""
    return f"{noted.get('instance')} is gone: its planned hours were over at {text(end)}"
