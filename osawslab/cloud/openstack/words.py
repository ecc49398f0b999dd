"""The last words of services that do not come up."""

from __future__ import annotations

from collections.abc import Iterable

from osawslab.cloud.openstack.services import OWN

RESTARTS = 3  # by systemd, of a service that ends each time: it will not come up
COUNT_ANEW = "systemctl reset-failed"  # systemd's count of restarts (service_reset_failed)


def last_words(ready: str) -> str:
    """Write the shell function `words UNIT`.

    They are its log's, if it has written there since the services were to start (the file
    `ready`); else, before it had a log, what it and systemd said (the journal).
    """
    return f"""words() {{
  log=$(find /var/log -name "$1.log" -newer {ready} 2>/dev/null)
  if [ "$log" ]; then tail -q -n 5 $log; else journalctl -q -n 5 --no-pager -o cat -u "$1"; fi |
    cut -c 1-300 | tr '\\n' ' '
}}
"""


def given_up(ready: str, late: Iterable[str] = ()) -> str:
    """Write what tells the last words of services that have failed, and of those that are late.

    systemd starts one that ends anew, for ever if that takes it seconds: it has failed, too.
    """
    lost = (
        "{ for (i = 1; i < NF; i += 2) told[$i] = $(i + 1) }"
        f' told["ActiveState"] ~ /failed|inactive/ || told["NRestarts"] >= {RESTARTS}'
        ' { print told["Id"] }'
    )
    return f"""{last_words(ready)}for unit in {" ".join(late)} $(
  systemctl show -p Id -p ActiveState -p NRestarts {" ".join(OWN)} | awk -F '[=\\n]' -v RS= '{lost}'
); do
  echo "${{unit%.service}}: $(words ${{unit%.service}})"
done
"""
