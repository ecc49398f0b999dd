"""Diagnose a host that is nobody's lab: by OpenSSH, with whatever AWS credentials there are."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osawslab.clinic import account
from osawslab.clinic.account import Account
from osawslab.clinic.case import Case
from osawslab.clinic.diagnosis import diagnose
from osawslab.clinic.station import Diagnosis
from osawslab.errors import BadSetting, CannotReach, LabError, LabTimeout, MissingTool, StepFailed

SECONDS = 30  # for all of the look; it takes about one
CONNECT_SECONDS = 2.0
# As root where that is allowed; the program comes on standard input, and sudo takes the
# environment away that says who has come.
RUN = (
    'set -- python3 - "$SSH_CONNECTION"; '
    'if [ "$(id -u)" != 0 ] && sudo -n true 2>/dev/null; then set -- sudo -n "$@"; fi; exec "$@"'
)


@dataclass(frozen=True)
class Host:
    """A host as OpenSSH knows it: user@name, or a name of its configuration."""

    destination: str
    identity: Path | None = None
    config: Path | None = None

    def words(self, *more: str) -> list[str]:
        """Begin an `ssh` command."""
        found = ["ssh", "-o", f"ConnectTimeout={5}"]
        if not sys.stdin.isatty():
            found += ["-o", "BatchMode=yes"]
        if self.config:
            found += ["-F", str(self.config)]
        if self.identity:
            found += ["-i", str(self.identity)]
        return [*found, *more, "--", self.destination]

    def look(self, source: str, given: dict[str, Any]) -> Any:
        """Run the program there. Raises CannotReach, MissingTool, StepFailed, LabTimeout."""
        program = f"import json\nGIVEN = json.loads({json.dumps(json.dumps(given))})\n"
        head, _, rest = source.partition("\n")
        try:
            done = subprocess.run(
                [*self.words(), RUN], input=f"{head}\n{program}{rest}", capture_output=True,
                text=True, timeout=SECONDS, check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise MissingTool("there is no ssh here", next="install OpenSSH's client") from None
        except subprocess.TimeoutExpired:
            raise LabTimeout(f"{self.destination} gave no answer within {SECONDS} s") from None
        words = done.stderr.strip().splitlines()
        said = words[-1] if words else f"exit status {done.returncode}"
        shown = f"ssh {self.destination} true"
        if done.returncode == 255:
            raise CannotReach(f"{self.destination} does not let us in", seen=said, next=shown)
        if done.returncode == 127 or "python3: command not found" in said:  # the shell, or sudo
            raise MissingTool(
                f"{self.destination} has no python3, which the look is written in", seen=said,
                next=f"ssh {self.destination} sudo apt-get install -y python3-minimal",
            )  # fmt: skip
        try:
            return json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise StepFailed(
                f"the look at {self.destination} did not end as it should", seen=said, next=shown
            ) from None

    def address(self) -> str:
        """Say which IPv4 address that is, as OpenSSH would reach it; "" where nobody knows."""
        try:
            done = subprocess.run(
                self.words("-G"), capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except (FileNotFoundError, subprocess.TimeoutExpired):  # the look says that
            return ""
        names = [line[9:] for line in done.stdout.splitlines() if line.startswith("hostname ")]
        try:
            return socket.gethostbyname(names[0]) if names else ""
        except OSError:
            return ""


def books(instance: str, public: str, macs: list[str], region: str) -> Account:
    """Ask EC2 with the credentials that boto3 finds; say why where there are none."""
    import boto3
    import botocore.config
    import botocore.exceptions as wrong

    try:
        session = boto3.session.Session()
        if session.get_credentials() is None:
            return Account()
        place = region or session.region_name
        if not place:
            return Account("no region is known: export AWS_REGION")
        config = botocore.config.Config(
            retries={"total_max_attempts": 2}, connect_timeout=2, read_timeout=5
        )
        ec2 = session.client("ec2", region_name=place, config=config)
        return account.read(ec2, instance, public, macs)
    except wrong.BotoCoreError as error:
        return Account(str(error))


def connect(address: str, port: int) -> str:
    """Connect from here: what it says first. Raises OSError."""
    with socket.create_connection((address, port), CONNECT_SECONDS) as made:
        made.settimeout(CONNECT_SECONDS)
        return made.recv(60).decode(errors="replace").partition("\r")[0].strip()


def run(
    destination: str, nic: str = "", identity: Path | None = None, config: Path | None = None
) -> Diagnosis:
    """Diagnose a host. Raises BadSetting for what is none, LabError where nothing can be said."""
    if not destination or destination.startswith("-"):
        raise BadSetting("that is no host", seen=repr(destination), next="--ssh user@host")
    host = Host(destination, identity, config)
    missing: list[LabError] = []

    def look(source: str, given: dict[str, Any]) -> Any:
        # boto3's import takes as long as the look: both at once.
        threading.Thread(target=__import__, args=("boto3",), daemon=True).start()
        try:
            return host.look(source, given)
        except (MissingTool, StepFailed) as error:
            missing.append(error)
            raise

    def ask(instance: str, public: str, macs: list[str], region: str) -> Account:
        if missing:
            raise missing[0]
        return books(instance, "" if instance else host.address(), macs, region)

    os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # this machine is not the patient
    return diagnose(Case(destination, look, ask, connect, host_address(host), named=nic))


def host_address(host: Host) -> str:
    """Say where it is reached, without asking anybody where it is an address already."""
    name = host.destination.rpartition("@")[2]
    try:
        socket.inet_aton(name)
    except OSError:
        return host.address()
    return name
