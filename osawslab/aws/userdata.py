"""The user data of the instance: a script that proves the host key which it has made for itself.

It also sets the time at which the instance ends itself (`ending`), where it costs money.

Beforehand both sides know nothing but a secret, which EC2's API hands to the account and to the
instance. The instance shows HMAC(secret, its host key) before anybody logs in; who stands between
can relay that, but has no such proof of a key of his own. No private key leaves the instance.
"""

from __future__ import annotations

import base64
import re
import secrets
from datetime import datetime
from typing import Any

from osawslab.aws import ending
from osawslab.errors import StepFailed
from osawslab.keys import PROOF

# cloud-init runs it at the first boot, as root, after it has made the host keys ("User-data
# formats", "Module reference: SSH"). Debian's sshd reads the files in sshd_config.d and shows the
# banner before authentication (sshd_config(5)). The secret is in no process's arguments.
SCRIPT = """\
#!/usr/bin/python3 -I
# Show a proof of this host's key to the one who knows the secret; a lab of osawslab asks for it.
# And end this instance when its time is over.
import hmac
import subprocess
from pathlib import Path

SECRET = "{secret}"
END = {end}  # seconds since 1970; 0: never
if END:
    Path("{file}").write_text(f"{{END}}\\n")
    watch = Path("{watch}")
    watch.parent.mkdir(parents=True, exist_ok=True)
    watch.write_text({script!r})
    watch.chmod(0o700)
    subprocess.run([watch], check=False)
key = Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
proof = hmac.new(SECRET.encode(), " ".join(key).encode(), "sha256").hexdigest()
Path("/etc/issue.net").write_text(f"{word} {{proof}}\\n")
settings = Path("/etc/ssh/sshd_config.d/osawslab.conf")
settings.parent.mkdir(exist_ok=True)
settings.write_text("Banner /etc/issue.net\\n")
if Path("/run/systemd/system").is_dir():
    subprocess.run(["systemctl", "try-reload-or-restart", "ssh.service"], check=True)
"""


def user_data(end: datetime | None = None) -> str:
    """Write the script, with a new secret (32 bytes, hexadecimal), and the end if there is one."""
    return SCRIPT.format(
        secret=secrets.token_hex(32),
        word=PROOF,
        end=int(end.timestamp()) if end else 0,
        file=ending.FILE,
        watch=ending.WATCH,
        script=ending.SCRIPT,
    )


def secret(ec2: Any, instance_id: str) -> str:
    """Read the secret that an instance was given. Raises StepFailed where it has none."""
    found = ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
    text = base64.b64decode(found.get("UserData", {}).get("Value", "")).decode(errors="replace")
    given = re.search(r'^SECRET = "([0-9a-f]{64})"$', text, re.MULTILINE)
    if given is None:
        raise StepFailed(
            f"{instance_id} has no secret in its user data to prove its host key with",
            seen=(text.splitlines() or ["no user data"])[0],
            next="lab.tear_down(), then lab.provision()",
        )
    return given[1]
