"""Debian's packages of OpenStack, the services in them, and which service reads which file."""

from __future__ import annotations

from collections.abc import Mapping

PACKAGES = (
    "mariadb-server", "rabbitmq-server", "memcached", "crudini", "keystone", "glance",
    "placement-api", "nova-api", "nova-conductor", "nova-scheduler", "nova-compute",
    "nova-compute-qemu", "libvirt-daemon-system", "qemu-system-x86", "qemu-utils", "neutron-api",
    "neutron-rpc-server", "neutron-openvswitch-agent", "neutron-l3-agent", "neutron-dhcp-agent",
    "neutron-metadata-agent", "openvswitch-switch", "python3-openstackclient", "iptables", "curl",
    "tcpdump", "ethtool", "net-tools", "macchanger", "busybox-static", "dropbear-bin", "cpio",
    "xz-utils",
)  # fmt: skip
AGENTS = (
    "neutron-openvswitch-agent", "neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent",
)  # fmt: skip
COMPUTE = (
    "glance-api", "placement-api", "nova-api", "nova-api-metadata", "nova-scheduler",
    "nova-conductor", "nova-compute",
)  # fmt: skip
# libvirtd ends when nobody has asked it anything for two minutes; its socket starts it again.
BASE = ("mariadb", "memcached", "rabbitmq-server", "openvswitch-switch", "libvirtd.socket")
NEUTRON = ("neutron-api", "neutron-rpc-server")
OWN = ("keystone", *NEUTRON, *AGENTS, *COMPUTE)
SERVICES = (*BASE, *OWN)
# Who asks Placement at its start, or ends: it needs its account first.
LATE = COMPUTE[-3:]
# A file with a database in it that is not ours is somebody else's OpenStack.
CONFIGURED = ("/etc/keystone/keystone.conf", "/etc/neutron/neutron.conf", "/etc/nova/nova.conf")
DATABASES = {
    "keystone": "keystone", "glance": "glance", "placement": "placement", "neutron": "neutron",
    "nova": "nova", "nova_api": "nova", "nova_cell0": "nova",
}  # fmt: skip
UWSGI = {
    "keystone": "/etc/keystone/keystone-uwsgi.ini",
    "glance-api": "/etc/glance/glance-api-uwsgi.ini",
    "placement-api": "/etc/placement/placement-api-uwsgi.ini",
    "neutron-api": "/etc/neutron/neutron-api-uwsgi.ini",
    "nova-api": "/etc/nova/nova-api-uwsgi.ini",
    "nova-api-metadata": "/etc/nova/nova-api-metadata-uwsgi.ini",
}
# Who reads which file: only they are started anew when it changes.
READERS: Mapping[str, tuple[str, ...]] = {
    "/etc/keystone/keystone.conf": ("keystone",),
    "/etc/glance/glance-api.conf": ("glance-api",),
    "/etc/placement/placement.conf": ("placement-api",),
    "/etc/neutron/neutron.conf": ("neutron-api", "neutron-rpc-server", *AGENTS),
    "/etc/neutron/plugins/ml2/ml2_conf.ini": ("neutron-api", "neutron-rpc-server"),
    "/etc/neutron/plugins/ml2/openvswitch_agent.ini": ("neutron-openvswitch-agent",),
    "/etc/neutron/l3_agent.ini": ("neutron-l3-agent",),
    "/etc/neutron/dhcp_agent.ini": ("neutron-dhcp-agent",),
    "/etc/neutron/metadata_agent.ini": ("neutron-metadata-agent",),
    "/etc/nova/nova.conf": tuple(name for name in COMPUTE if name.startswith("nova")),
    "/etc/nova/nova-compute.conf": ("nova-compute",),
    "/etc/mysql/mariadb.conf.d/99-osawslab.cnf": ("mariadb",),
    "/etc/libvirt/qemu.conf": ("libvirtd",),
    "/etc/libvirt/hooks/qemu.d/osawslab": ("libvirtd",),
}
