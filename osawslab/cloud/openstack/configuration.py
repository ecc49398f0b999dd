"""What each service of OpenStack is told: one piece of INI text for each file of Debian's.

Values come from the install guides of the 2025.1 release (docs.openstack.org/2025.1/install),
made small for one host; where they differ, a comment says why. `$DB_PASSWORD` and the like are
filled in by the shell on the instance, from the file of secrets there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

API_PORTS = {"identity": 5000, "network": 9696, "compute": 8774, "image": 9292, "placement": 8778}


@dataclass(frozen=True)
class About:
    """What the configuration depends on."""

    address: str  # of the management NIC: where the APIs listen
    bridge: str  # the provider bridge
    datapath: str  # "netdev" (user space) or "system" (kernel)
    virtualization: str  # "kvm" or "qemu"
    dashboard: bool = False
    cirros: bool = False


def database(name: str, user: str) -> str:
    """Give the URL of a service's database."""
    return f"mysql+pymysql://{user}:$DB_PASSWORD@127.0.0.1/{name}"


def credentials(about: About, user: str, *, middleware: bool = False) -> str:
    """Write how a service logs in to Keystone, or how it checks others' tokens there."""
    checks = (
        f"www_authenticate_uri=http://{about.address}:5000\nmemcached_servers=127.0.0.1:11211\n"
    )
    return (
        f"auth_url=http://{about.address}:5000\nauth_type=password\n"
        "project_domain_name=Default\nuser_domain_name=Default\nproject_name=service\n"
        f"region_name=RegionOne\nusername={user}\npassword=$SERVICE_PASSWORD\n"
        + (checks if middleware else "")
    )


def files(about: About) -> Mapping[str, str]:
    """Map the files to what is merged into them."""
    rabbit = "rabbit://openstack:$RABBIT_PASSWORD@127.0.0.1"

    def token(user: str) -> str:
        return f"[keystone_authtoken]\n{credentials(about, user, middleware=True)}"

    return {
        "/etc/keystone/keystone.conf": (
            f"[database]\nconnection={database('keystone', 'keystone')}\n[token]\nprovider=fernet\n"
            # Each login costs a hash. More rounds make guessing slow: of 128 random bits, in vain.
            "[identity]\npassword_hash_rounds=4\n"
            # Each call of each service has its token checked.
            "[cache]\nbackend=dogpile.cache.pymemcache\nmemcache_servers=127.0.0.1:11211\n"
        ),
        "/etc/glance/glance-api.conf": (
            f"[DEFAULT]\nworkers=1\n[database]\nconnection={database('glance', 'glance')}\n"
            f"{token('glance')}[paste_deploy]\nflavor=keystone\n"
            "[glance_store]\nstores=file\ndefault_store=file\n"
            "filesystem_store_datadir=/var/lib/glance/images\n"
        ),
        "/etc/placement/placement.conf": (
            f"[placement_database]\nconnection={database('placement', 'placement')}\n"
            f"{token('placement')}[api]\nauth_strategy=keystone\n"
        ),
        "/etc/neutron/neutron.conf": (
            "[DEFAULT]\ncore_plugin=ml2\nservice_plugins=router,port_forwarding\n"
            f"transport_url={rabbit}\napi_workers=1\nrpc_workers=1\nrpc_state_report_workers=0\n"
            f"dhcp_agents_per_network=1\n[database]\nconnection={database('neutron', 'neutron')}\n"
            f"{token('neutron')}[nova]\n{credentials(about, 'nova')}"
            f"[placement]\n{credentials(about, 'placement')}"
        ),
        "/etc/neutron/plugins/ml2/ml2_conf.ini": (
            "[ml2]\ntype_drivers=flat,vxlan\ntenant_network_types=vxlan\n"
            "mechanism_drivers=openvswitch\nextension_drivers=port_security\n"
            "[ml2_type_flat]\nflat_networks=provider\n[ml2_type_vxlan]\nvni_ranges=1:1000\n"
        ),
        "/etc/neutron/plugins/ml2/openvswitch_agent.ini": (
            f"[ovs]\nlocal_ip={about.address}\nbridge_mappings=provider:{about.bridge}\n"
            f"datapath_type={about.datapath}\nof_inactivity_probe=30\n"
            "[agent]\ntunnel_types=vxlan\n[securitygroup]\nfirewall_driver=openvswitch\n"
        ),
        "/etc/neutron/l3_agent.ini": (
            "[DEFAULT]\ninterface_driver=openvswitch\n[agent]\nextensions=port_forwarding\n"
        ),
        "/etc/neutron/dhcp_agent.ini": (
            "[DEFAULT]\ninterface_driver=openvswitch\nenable_isolated_metadata=true\n"
        ),
        "/etc/neutron/metadata_agent.ini": (
            f"[DEFAULT]\nnova_metadata_host={about.address}\n"
            "metadata_proxy_shared_secret=$METADATA_SECRET\nmetadata_workers=1\n"
        ),
        "/etc/nova/nova.conf": _nova(about, rabbit, token("nova")),
        "/etc/nova/nova-compute.conf": f"[libvirt]\nvirt_type={about.virtualization}\n",
    }


def _nova(about: About, rabbit: str, token: str) -> str:
    model = "host-passthrough" if about.virtualization == "kvm" else "none"
    return (
        f"[DEFAULT]\ntransport_url={rabbit}\nmy_ip={about.address}\nosapi_compute_workers=1\n"
        "metadata_workers=1\nvif_plugging_timeout=120\nforce_raw_images=false\n"
        "resume_guests_state_on_host_boot=true\n"
        f"[api_database]\nconnection={database('nova_api', 'nova')}\n"
        f"[database]\nconnection={database('nova', 'nova')}\n{token}"
        f"[api]\nauth_strategy=keystone\n[placement]\n{credentials(about, 'placement')}"
        f"[neutron]\n{credentials(about, 'neutron')}service_metadata_proxy=true\n"
        "metadata_proxy_shared_secret=$METADATA_SECRET\n"
        f"[service_user]\nsend_service_user_token=true\n{credentials(about, 'nova')}"
        f"[glance]\napi_servers=http://{about.address}:9292\n"
        # Debian's QEMU is built without SPICE, and nobody looks at a screen here.
        "[vnc]\nenabled=false\n[spice]\nenabled=false\n"
        "[conductor]\nworkers=1\n[scheduler]\nworkers=1\n"
        f"[libvirt]\nvirt_type={about.virtualization}\ncpu_mode={model}\n"
    )


# Small for one host. Each lost second of a power cut may be lost here: it is a lab.
MARIADB = """[mysqld]
bind-address=127.0.0.1
max_connections=400
innodb_flush_log_at_trx_commit=0
innodb_doublewrite=0
sync_binlog=0
innodb_buffer_pool_size=128M
performance_schema=off
# ON since MariaDB 11.6: error 1020, "Record has changed since last read", in every service.
innodb_snapshot_isolation=OFF
character-set-server=utf8mb3
collation-server=utf8mb3_general_ci
"""

# An instance that is a container has no cgroups and no AppArmor to give to libvirt.
QEMU = """security_driver = "none"
security_default_confined = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""

# libvirt makes a VM's tap and switches it on. Open vSwitch in user space, which waits for a port of
# that name, reads the tap's flags in that moment and writes them back with "promiscuous" added
# (netdev_linux_update_flags): without UP, if it has read them before. Seen with 4 of 246 taps.
HOOK = """#!/bin/sh
[ "$2" = started ] || exit 0
for tap in $(sed -n "s/.*<target dev='\\([^']*\\)'.*/\\1/p"); do
  [ -e "/sys/class/net/$tap" ] || continue  # a disk
  ovs-vsctl --timeout=20 wait-until Interface "$tap" 'ofport>0'
  ip link set "$tap" up
done
"""

# What is enabled starts at boot, but not before this host has been configured: an image of
# another host starts without its services.
UNIT = """[Unit]
ConditionPathExists={ready}
"""
# While all others load, each of them waits for a token.
KEYSTONE_UNIT = """[Service]
Nice=-10
"""
# An agent that starts before the API waits for its next try, a minute later.
AGENT_UNIT = """After=neutron-api.service neutron-rpc-server.service ovs-vswitchd.service
[Service]
TimeoutStartSec=300
ExecStartPre=/bin/sh -c "until curl -s -o /dev/null http://{address}:9696/; do sleep 0.3; done"
"""
# At boot the network comes first, and two cores are few.
NOVA_UNIT = """After=neutron-openvswitch-agent.service neutron-l3-agent.service
After=neutron-dhcp-agent.service
[Service]
TimeoutStartSec=300
"""
# It calls the conductor, and waits ten seconds for the answer of one that does not listen yet.
COMPUTE_UNIT = f"""After=nova-conductor.service
{NOVA_UNIT}"""

# `rabbitmqctl add_user` wants the password as an argument, which everybody could see; a hash in a
# file needs no argument (RabbitMQ, "Credentials and Passwords": salt of 4 bytes, SHA-256).
RABBIT = """import base64, hashlib, json, os
salt = os.urandom(4)
digest = hashlib.sha256(salt + os.environ["RABBIT_PASSWORD"].encode()).digest()
user = {"name": "openstack", "tags": "", "hashing_algorithm": "rabbit_password_hashing_sha256",
        "password_hash": base64.b64encode(salt + digest).decode()}
rights = {"user": "openstack", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}
print(json.dumps({"users": [user], "vhosts": [{"name": "/"}], "permissions": [rights]}))
"""
