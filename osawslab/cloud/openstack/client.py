"""OpenStack's own programs, led to the lab's APIs: what their environment says."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from osawslab.cloud.openstack import proxy
from osawslab.cloud.openstack.accounts import REGION
from osawslab.cloud.openstack.configuration import API_PORTS
from osawslab.host.ssh import SshHost


@contextlib.contextmanager
def variables(host: SshHost, address: str, password: str) -> Iterator[dict[str, str]]:
    """Give the variables of admin, and of a way to the APIs that ends with the block.

    Names: python-openstackclient, "Configuration". The file names keep the caller's clouds.yaml
    out, which may name another cloud.
    """
    with proxy.to_apis(host, address) as url:
        yield {
            "OS_AUTH_URL": f"http://{address}:{API_PORTS['identity']}/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": password,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_IDENTITY_API_VERSION": "3",
            "OS_REGION_NAME": REGION,
            "OS_CLIENT_CONFIG_FILE": os.devnull,
            "OS_CLIENT_SECURE_FILE": os.devnull,
            "http_proxy": url,
        }
