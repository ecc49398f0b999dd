"""An image of an instance with OpenStack: what is forgotten before it, what it is made from."""

from __future__ import annotations

import hashlib

from osawslab.cloud.openstack import horizon, parts
from osawslab.cloud.openstack.configuration import About, files
from osawslab.cloud.openstack.parts import READY, SECRETS, STATE
from osawslab.cloud.openstack.services import OWN

COOKIE = "/var/lib/rabbitmq/.erlang.cookie"
# Erlang would make itself a cookie of 20 letters, out of the time.
RABBIT_UNIT = f"""[Service]
ExecStartPre=/bin/sh -c "umask 377; [ -e {COOKIE} ] || openssl rand -base64 42 > {COOKIE}"
"""
# The secrets' values are read and written by this program alone: none is an argument.
BLANK = """import pathlib, sys
secrets, *paths = map(pathlib.Path, sys.argv[1:])
lines = secrets.read_text().splitlines()
values = [line.partition("=")[2] for line in lines if not line.startswith("INSTANCE=")]
for path in filter(pathlib.Path.exists, paths):
    text = path.read_text()
    for value in filter(None, values):
        text = text.replace(value, "")
    path.write_text(text)
"""


def forget() -> str:
    """Write what comes before an image is made: nothing of this host's own goes into it.

    Instances of the image start what is configured anew for them first, and the rest then. The
    message queue ends before its cookie does, or it would make another to end with.
    """
    configured = " ".join(files(About("", "", "", "")))
    rabbit = "/etc/systemd/system/rabbitmq-server.service.d"
    return f"""systemctl stop {" ".join(OWN)} {horizon.SERVICE} rabbitmq-server
systemctl -q disable {horizon.SERVICE} 2>/dev/null
rm -f {READY}
# Open vSwitch would try to reach an agent that is not there, in the end each eight seconds, and the
# agent wait for it.
for bridge in $(ovs-vsctl list-br); do ovs-vsctl del-controller $bridge; done
python3 - {SECRETS} {configured} <<'END' || exit 1
{BLANK}END
echo INSTANCE=none > {SECRETS}
rm -rf /etc/keystone/fernet-keys /etc/keystone/credential-keys {COOKIE}
mkdir -p {rabbit}
cat > {rabbit}/osawslab.conf <<'END'
{RABBIT_UNIT}END
cd {STATE} && rm -rf registered-mac the-drop.json mac-refusal names.json vm
rm -f {horizon.SECRET_KEY}
apt-get clean
command -v cloud-init >/dev/null && cloud-init clean --logs
rm -rf /var/lib/cloud/instance /var/lib/cloud/instances
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /home/*/.ssh/authorized_keys /root/.ssh/authorized_keys
truncate -s 0 /etc/machine-id
sync
"""


def made_of(settings_address: str) -> str:
    """Give the hash of what an image is made from: another one is no use to this installer.

    The address is in it, since Nova keeps a host's name, which on EC2 follows from the address.
    """
    text = parts.packages() + parts.tables() + parts.guest(About("", "", "", "")) + forget()
    return hashlib.sha256((text + settings_address).encode()).hexdigest()[:16]
