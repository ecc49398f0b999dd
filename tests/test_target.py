"""Where a lab runs: whatever the caller's environment says, nothing of it leaves this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from osawslab.region import local

AUDITED = """
import json, os, signal, sys
seen = []
at = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "subprocess.Popen": 0}
def hook(event, given):
    if event in at:
        seen.append([event, str(given[at[event]])])
sys.addaudithook(hook)
from osawslab import Lab, LabError
from osawslab.region import local
from osawslab.settings import Settings
from osawslab.target import open_target
lab = Lab("planted")
region = local.ensure("planted")
target = open_target(Settings(name="planted"))
keys = set()
for service, call in (("ec2", "describe_vpcs"), ("sts", "get_caller_identity")):
    client = target.client(service)
    client.meta.events.register("before-send", lambda request, **_: keys.add(
        request.headers["Authorization"].split(b"Credential=")[1].split(b"/")[0].decode()))
    getattr(client, call)()
ssm = target.client("ssm")
ssm.get_parameter(Name="/aws/service/debian/release/13/latest/amd64")
assert lab.preflight()
os.kill(region.pid, signal.SIGKILL)
while local.find("planted"):
    pass
errors = []
for client, call in ((target.client("ec2"), "describe_vpcs"), (target.client("ec2"), "create_vpc"),
                     (target.client("sts"), "get_caller_identity"),
                     (ssm, "describe_parameters")):
    try:
        getattr(client, call)(**({"CidrBlock": "10.0.0.0/16"} if call == "create_vpc" else {}))
        errors.append("answered")
    except Exception as error:
        errors.append(type(error).__name__)
lab.plan("provision")
print(json.dumps({"seen": seen, "keys": sorted(keys), "own": region.access_key, "errors": errors}))
"""

CONFIG = """
[profile production]
region = eu-central-1
endpoint_url = http://192.0.2.10
credential_process = /bin/sh -c "touch {mark}"
services = everywhere
[services everywhere]
ec2 =
  endpoint_url = http://192.0.2.11
"""


def test_nothing_of_a_local_lab_leaves_loopback(home: Path) -> None:
    mark, config = home / "ran", home / "aws-config"
    config.write_text(CONFIG.format(mark=mark))
    planted = {
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "IQoJb3JpZ2luX2VjEXAMPLETOKEN",
        "AWS_PROFILE": "production",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(config),
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "http://192.0.2.1",
        "AWS_ENDPOINT_URL_EC2": "http://192.0.2.2",
        "AWS_ENDPOINT_URL_STS": "http://192.0.2.3",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://192.0.2.4",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        **{name: "http://192.0.2.5:3128" for name in (
            "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy",
        )},
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", AUDITED],
        env={**os.environ, **planted},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["keys"] == [found["own"]]
    assert "answered" not in found["errors"]
    assert not mark.exists()
    runtime = str(local.runtime_folder("planted"))
    asked = [where for event, where in found["seen"] if event != "subprocess.Popen"]
    assert asked
    assert not [
        where for where in asked if "127.0.0.1" not in where and not where.startswith(runtime)
    ]
    programs = {where for event, where in found["seen"] if event == "subprocess.Popen"}
    assert programs <= {"unshare", "setsid"}
    local.remove("planted")


def test_a_lab_works_on_a_machine_without_a_network(home: Path) -> None:
    """Where there is a loopback and nothing else."""
    source = (
        "from osawslab import Lab\nlab = Lab('offline', bridge='linux')\n"
        "print(lab.provision().ok, lab.install_cloud().ok)\n"
        "from osawslab.region import local\nlocal.remove('offline')\n"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-ec",
         'ip link set lo up; exec "$@"', "sh", sys.executable, "-c", source],
        cwd=home, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout == "True True\n", done.stderr
