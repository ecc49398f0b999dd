"""CirrOS, the small image that tutorials boot: downloaded by the instance, where it has a way out.

The local region has none; there the lab's own image is the only one. The digest is that of the
release's file, whose folder never changes; CirrOS itself publishes MD5 sums only.
"""

from __future__ import annotations

from osawslab.cloud.openstack.configuration import About
from osawslab.cloud.openstack.parts import SECRETS, Part

NAME = "cirros-0.6.2"
URL = "https://download.cirros-cloud.net/0.6.2/cirros-0.6.2-x86_64-disk.img"
SHA256 = "07e44a73e54c94d988028515403c1ed762055e01b83a767edf3c2b387f78ce00"
CONNECT_SECONDS = 20


def part(about: About, url: str = URL, sha256: str = SHA256) -> Part:
    """Make the part that a lab with CirrOS has besides."""
    script = f""". {SECRETS}
export OS_PASSWORD=$ADMIN_PASSWORD OS_USERNAME=admin OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_ID=default OS_PROJECT_DOMAIN_ID=default
export OS_AUTH_URL=http://{about.address}:5000/v3 OS_IDENTITY_API_VERSION=3
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT; cd "$work"
curl -fsSL --retry 2 --connect-timeout {CONNECT_SECONDS} -o cirros.img {url} ||
  {{ echo 'no way to it from here? cirros = "no" leaves it out' >&2; exit 1; }}
echo "{sha256}  cirros.img" | sha256sum --check --quiet
openstack image list --name {NAME} -f value -c ID | xargs -r openstack image delete
openstack image create --public --disk-format qcow2 --container-format bare \\
  --file cirros.img -f value -c status {NAME}
"""
    return Part("cirros", "CirrOS beside it, from the internet", script, False)
