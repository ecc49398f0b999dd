"""CirrOS beside the lab's own image: downloaded, held against its digest, or said why not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import pytest

from osawslab import Lab
from osawslab.cloud.openstack import cirros
from osawslab.cloud.openstack.configuration import About
from osawslab.errors import StepFailed
from osawslab.steps import openstack_install

FILE = "/tmp/small.img"


@pytest.fixture
def wanted(toured: Lab) -> Iterator[Lab]:
    """Give the same lab, but with CirrOS wanted."""
    with Lab(**{**asdict(toured.settings), "cirros": "yes"}) as made:
        yield made


def images(lab: Lab) -> list[str]:
    """Name CirrOS's images in Glance, with what they are."""
    told = openstack_install.cloud(lab._site(), lab.host())
    return [each.status for each in told.image.images(name=cirros.NAME)]


def test_without_a_way_out_it_says_so_and_leaves_nothing(wanted: Lab, toured: Lab) -> None:
    [part, _] = wanted.plan("install_cloud").actions
    assert cirros.URL in part.command
    with pytest.raises(StepFailed, match="part cirros") as caught:
        wanted.install_cloud()
    assert "Could not resolve host" in caught.value.seen
    assert 'cirros = "no"' in caught.value.seen
    assert not images(toured)
    assert not toured.install_cloud().changed


def test_what_has_its_digest_becomes_an_image_once(toured: Lab) -> None:
    host, about = toured.host(), About(toured.settings.management_address, "", "", "")
    try:
        digest = host.run(f"qemu-img create -q -f qcow2 {FILE} 1M && sha256sum {FILE}").split()[0]
        with pytest.raises(StepFailed) as caught:
            host.run("bash -euo pipefail", cirros.part(about, f"file://{FILE}").command)
        assert "did NOT match" in caught.value.seen
        assert not images(toured)
        good = cirros.part(about, f"file://{FILE}", digest)
        for _ in range(2):
            host.run("bash -euo pipefail", good.command)
            assert images(toured) == ["active"]
    finally:
        host.run(f"rm -f {FILE} {openstack_install.FOLDER}/cirros.stamp")
        told = openstack_install.cloud(toured._site(), host)
        for each in told.image.images(name=cirros.NAME):
            told.image.delete_image(each)
