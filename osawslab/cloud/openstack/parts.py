"""OpenStack in parts that follow one another: what each does, and how it knows that it is done.

A part is a script that may be run again at any time. Its last line leaves a stamp, a hash of
everything the part was made from: a part whose stamp is another, or not there, is run again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from osawslab.cloud.openstack import accounts, configuration, horizon, words
from osawslab.cloud.openstack.configuration import About
from osawslab.cloud.openstack.services import (
    AGENTS,
    BASE,
    COMPUTE,
    DATABASES,
    LATE,
    NEUTRON,
    OWN,
    PACKAGES,
    READERS,
    SERVICES,
    UWSGI,
)

STATE = "/var/lib/osawslab"
FOLDER = f"{STATE}/openstack"
SECRETS = f"{FOLDER}/secrets"  # 0600
READY = f"{FOLDER}/ready"  # the services may start
ACCOUNTS = "accounts"
SECRET_NAMES = (
    "DB_PASSWORD", "RABBIT_PASSWORD", "ADMIN_PASSWORD", "SERVICE_PASSWORD", "METADATA_SECRET",
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part by name: why it is there, and the script (bash, run by root on the instance)."""

    name: str
    why: str
    script: str
    secret: bool = True  # made anew when the secrets change
    packages: tuple[str, ...] = ()  # that are there when it is done
    services: tuple[str, ...] = ()  # that run when it is done

    @property
    def made_of(self) -> str:
        """The hash of the script."""
        return hashlib.sha256(self.script.encode()).hexdigest()[:16]

    def stamp(self, secrets: str) -> str:
        """Give the stamp that the part leaves, by the digest of the secrets on the instance."""
        return f"{self.made_of} {secrets[:16]}" if self.secret else self.made_of

    @property
    def leave_stamp(self) -> str:
        """The script's last line."""
        digest = f' "$(sha256sum < {SECRETS} | cut -c 1-16)"' if self.secret else ""
        return f"echo {self.made_of}{digest} > {FOLDER}/{self.name}.stamp\n"

    @property
    def command(self) -> str:
        """What a person would type, as root: the script, and the stamp that it leaves."""
        return self.script + self.leave_stamp


def parts(about: About, instance: str) -> tuple[Part, ...]:
    """List the parts in order. `accounts` is done through the API: its script is only the words."""
    unstarted = "Debian's packages of OpenStack, not started yet"
    every = (
        Part("packages", unstarted, packages(), False, packages=PACKAGES),
        Part("secrets", "passwords of this instance alone, for root only", secret(instance), False),
        Part("base", "the database, the message queue, the switch", base(about)),
        Part("configuration", "each service's files", configure(about)),
        Part("databases", "each service's tables", tables(), False),
        Part("identity", "Keystone, which knows all others", identity(about)),
        Part(ACCOUNTS, "a user and endpoints for each service", accounts.commands(about.address)),
        Part("services", "all services, the network's first", start(), services=SERVICES),
        Part("guest", "an image for VMs that needs no internet", guest(about), False),
    )
    return (*every, dashboard(about)) if about.dashboard else every


def packages() -> str:
    """Write the installation of what every lab has."""
    end = "systemctl reload dbus  # polkit's rules are new, and libvirt asks polkit\n"
    return install(PACKAGES) + end


# apt waits for one lock of the three, and a host that has just booted may be at it itself.
FREE = """import fcntl, sys, time
deadline = time.monotonic() + float(sys.argv[1])
for path in sys.argv[2:]:
    with open(path, "w") as lock:
        while True:
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > deadline:
                    sys.exit(f"another program has held {path} for {sys.argv[1]} s")
                time.sleep(0.5)
"""
LOCK_SECONDS = 120
LOCKS = "/var/lib/apt/lists/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock"


def install(names: Iterable[str]) -> str:
    """Write an installation; nothing is started before it is configured.

    Each of hundreds of packages would compile its own Python modules, one after the other; done
    at the end for all of them, every processor takes part.
    """
    return f"""export DEBIAN_FRONTEND=noninteractive
mkdir -p -m 700 {FOLDER}
later=$(mktemp -d)
ln -s /bin/true $later/py3compile
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -rf /usr/sbin/policy-rc.d $later' EXIT
python3 - {LOCK_SECONDS} {LOCKS} <<'END'
{FREE}END
PATH=$later:$PATH dpkg --configure -a
apt-get update -q --error-on=any
apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io \\
  -o DPkg::Lock::Timeout={LOCK_SECONDS} -o DPkg::Path=$later:$PATH {" ".join(names)}
python3 -m compileall -q -j 0 /usr/lib/python3/dist-packages >/dev/null || true
"""


def secret(instance: str) -> str:
    """Write the secrets; those of another instance (whose image this one has) are thrown away."""
    return f"""mkdir -p -m 700 {FOLDER}
umask 077
{{ echo INSTANCE={instance}
for name in {" ".join(SECRET_NAMES)}; do echo $name=$(openssl rand -hex 16); done
}} > {SECRETS}.part
mv {SECRETS}.part {SECRETS}
"""


# `merge FILE SERVICE…` and `write FILE SERVICE…` put standard input into a file; whoever reads a
# changed file is noted, and started anew at the end if it runs. Cut off in between, the next run
# still has the file from before.
CHANGES = f"""keep() {{ [ -e "$1.before" ] || {{ cp "$1" "$1.new"; mv "$1.new" "$1.before"; }}; }}
changed() {{
  local file=$1; shift
  cmp -s "$file" "$file.before" || printf '%s\\n' "$@" >> {FOLDER}/restart
  rm -f "$file.before"
}}
merge() {{ keep "$1"; crudini --merge "$1"; changed "$@"; }}
write() {{ touch "$1"; keep "$1"; cat > "$1"; changed "$@"; }}
restart() {{
  [ -e {FOLDER}/restart ] || return 0
  systemctl daemon-reload
  systemctl try-restart --no-block $(sort -u {FOLDER}/restart)
  rm {FOLDER}/restart
}}
"""


def base(about: About) -> str:
    """Write what every service stands on."""
    grants = "".join(
        f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3;\n"
        f"GRANT ALL ON {name}.* TO '{user}'@'localhost' IDENTIFIED BY '$DB_PASSWORD';\n"
        f"GRANT ALL ON {name}.* TO '{user}'@'127.0.0.1' IDENTIFIED BY '$DB_PASSWORD';\n"
        for name, user in DATABASES.items()
    )
    readers = {name: " ".join(READERS[name]) for name in READERS}
    mariadb, qemu = "/etc/mysql/mariadb.conf.d/99-osawslab.cnf", "/etc/libvirt/qemu.conf"
    hook = "/etc/libvirt/hooks/qemu.d/osawslab"
    return f"""{CHANGES}. {SECRETS}
write {mariadb} {readers[mariadb]} <<'END'
{configuration.MARIADB}END
write {qemu} {readers[qemu]} <<'END'
{configuration.QEMU}END
mkdir -p {hook.rpartition("/")[0]}
write {hook} {readers[hook]} <<'END'
{configuration.HOOK}END
chmod +x {hook}
sed -i '/^-l ::1/d' /etc/memcached.conf  # where there is no IPv6 it would not start
restart
systemctl start {" ".join(BASE)}
mariadb <<END
{grants}END
install -m 600 /dev/null /run/osawslab-rabbit.json
RABBIT_PASSWORD=$RABBIT_PASSWORD python3 - > /run/osawslab-rabbit.json <<'END'
{configuration.RABBIT}END
chown rabbitmq /run/osawslab-rabbit.json
rabbitmqctl -q import_definitions /run/osawslab-rabbit.json
rm /run/osawslab-rabbit.json
ovs-vsctl --may-exist add-br br-int -- set bridge br-int datapath_type={about.datapath} \\
  -- --may-exist add-br {about.bridge} -- set bridge {about.bridge} datapath_type={about.datapath}
"""


def configure(about: About) -> str:
    """Write every service's files, and start anew who reads a changed one."""
    merges = "".join(
        f"merge {path} {' '.join(READERS[path])} <<END &\n{text}END\n"
        for path, text in configuration.files(about).items()
    )
    workers = "".join(
        f"merge {path} {service} <<END &\n[uwsgi]\nprocesses=1\nthreads={threads}\n"
        f"{'plugins=python3' if service == 'keystone' else ''}\nEND\n"
        for service, path in UWSGI.items()
        for threads in (8 if service == "keystone" else 1,)
    )
    ready = configuration.UNIT.format(ready=READY)
    waits = configuration.AGENT_UNIT.format(address=about.address)
    units = "".join(
        f"mkdir -p /etc/systemd/system/{unit}.service.d\n"
        f"write /etc/systemd/system/{unit}.service.d/osawslab.conf <<'END'\n{ready}{more}END\n"
        for names, more in (
            (("keystone",), configuration.KEYSTONE_UNIT),
            (NEUTRON, ""),
            (AGENTS, waits),
            (COMPUTE[:-1], configuration.NOVA_UNIT),
            (COMPUTE[-1:], configuration.COMPUTE_UNIT),
        )
        for unit in names
    )
    return f"""{CHANGES}. {SECRETS}
crudini --del {UWSGI["keystone"]} uwsgi apparmor-profile
{merges}{workers}for each in $(jobs -p); do wait $each; done
{units}systemctl daemon-reload
restart
"""


AS = """as() { runuser -u "$1" -- "${@:2}"; }
"""


def tables() -> str:
    """Write every service's tables, two at a time: as many as a small instance has processors.

    MariaDB takes no new table back: where the first time was cut off, all begin from nothing.
    """
    anew = "".join(
        f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name} CHARACTER SET utf8mb3;\n"
        for name in DATABASES
    )
    neutron = "--config-file /etc/neutron/neutron.conf"
    # Nova fills the braces in from its own configuration, so a new password needs no new cell.
    url, host = "{username}:{password}@{hostname}", "mysql+pymysql://"
    return f"""{AS}[ -e {FOLDER}/tables ] || [ -e {FOLDER}/databases.stamp ] || mariadb <<'END'
{anew}END
identity() {{
  as keystone keystone-manage db_sync
  as nova nova-manage api_db sync
}}
others() {{
  as neutron neutron-db-manage {neutron} --config-file /etc/neutron/plugins/ml2/ml2_conf.ini \\
    upgrade head >/dev/null
  as glance glance-manage db_sync >/dev/null 2>&1
  as placement placement-manage db sync
}}
identity & first=$!
others & second=$!
wait $first
wait $second
cells=$(as nova nova-manage cell_v2 list_cells)
case $cells in *cell0*) ;; *) as nova nova-manage cell_v2 map_cell0 \\
  --database_connection '{host}{url}/nova_cell0' ;; esac
case $cells in *cell1*) ;; *) as nova nova-manage cell_v2 create_cell --name=cell1 \\
  --database_connection '{host}{url}/nova' --transport-url 'rabbit://{url}' >/dev/null ;; esac
as nova nova-manage db sync
touch {FOLDER}/tables
"""


def identity(about: About) -> str:
    """Write Keystone's keys and its first account; all others are made through its API.

    Who needs no account to start begins now, beside that: on two cores, loading is what takes time.
    A key is 32 random bytes in URL-safe base64, 0 the next one and 1 the first in use (Keystone's
    manual, "Fernet key repository"); `fernet_setup` would load all of Keystone for that, twice.
    """
    url = f"http://{about.address}:5000/v3/"
    early = " ".join(name for name in OWN if name not in LATE)
    return f""". {SECRETS}
systemctl daemon-reload
for folder in fernet-keys credential-keys; do
  rm -rf /etc/keystone/$folder
  install -d -m 700 -o keystone -g keystone /etc/keystone/$folder
  for key in 0 1; do
    (umask 077; openssl rand -base64 32 | tr '+/' '-_' | tr -d '\\n' > /etc/keystone/$folder/$key)
    chown keystone:keystone /etc/keystone/$folder/$key
  done
done
touch {READY}
systemctl reset-failed
systemctl try-restart --no-block keystone
systemctl start --no-block {early}
export OS_BOOTSTRAP_PASSWORD=$ADMIN_PASSWORD
nice -n -10 keystone-manage bootstrap --bootstrap-admin-url {url} --bootstrap-internal-url {url} \\
  --bootstrap-public-url {url} --bootstrap-region-id RegionOne
timeout 60 sh -c 'until curl -sf -o /dev/null {url}; do sleep 0.2; done'
"""


def start() -> str:
    """Write the start of all services; the last words of one that does not run are the error."""
    services = " ".join(SERVICES)
    wants = "/etc/systemd/system/multi-user.target.wants"
    return f"""{words.last_words(READY)}systemctl daemon-reload
for unit in {" ".join(OWN)}; do  # Debian's packages enable all but Placement
  [ -e {wants}/$unit.service ] || systemctl -q enable $unit
done
touch {READY}
systemctl reset-failed
systemctl start {services} || true
for unit in {services}; do
  systemctl -q is-active $unit && continue
  echo "$unit does not run: $(words $unit)" >&2
  exit 1
done
"""


def dashboard(about: About) -> Part:
    """Make the part that a lab with a dashboard has besides."""
    return Part(
        "dashboard",
        "Horizon, OpenStack in a browser",
        horizon.configure(about) + install(horizon.PACKAGES) + horizon.start(),
        False,
        packages=horizon.PACKAGES,
        services=(horizon.SERVICE,),
    )


def guest(about: About) -> str:
    """Write the making of the VM's image, and its upload to Glance."""
    return (
        f". {SECRETS}\nexport ADMIN_PASSWORD AUTH_URL=http://{about.address}:5000/v3\n"
        + Path(__file__).with_name("guest.sh").read_text()
    )
