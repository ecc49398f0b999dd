"""A local region that stands where AWS does."""

from __future__ import annotations

import os
import shlex
import sys

from osawslab.region.local import Region

OSAWSLAB = (sys.executable, "-P", "-m", "osawslab.cli")


def leads_to(region: Region) -> dict[str, str]:
    """Give the environment in which the target `aws` is this region."""
    return {
        "AWS_ENDPOINT_URL": region.endpoint,
        "AWS_ACCESS_KEY_ID": region.access_key,
        "AWS_SECRET_ACCESS_KEY": region.secret_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "OSAWSLAB_TARGET": "aws",
        "OSAWSLAB_ALLOW_FROM": "198.51.100.7/32",  # where that proxy comes from
        "OSAWSLAB_SSH_PROXY": shlex.join(OSAWSLAB) + f" region connect --name {region.name} %h %p",
    }
