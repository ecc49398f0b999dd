"""The way to the dashboard: what it shows, what it keeps to itself, and where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from world import Box

from osawslab.cloud.openstack.dashboard import Dashboard, lead
from osawslab.cloud.openstack.parts import SECRETS
from osawslab.errors import StepNotReady
from osawslab.host.tunnel import LOOPBACK, Tunnel


@pytest.fixture
def shown(box: Box) -> Iterator[Dashboard]:
    with Dashboard("alice", Tunnel(box.host, LOOPBACK, 22, (0,))) as made:
        yield made


def test_it_shows_the_address_the_user_and_where_the_password_is(shown: Dashboard) -> None:
    url = f"http://127.0.0.1:{shown.tunnel.port}/horizon/"
    assert shown.url == url
    command = f"./lab ssh --name alice -- sudo sed -n s/ADMIN_PASSWORD=//p {SECRETS}"
    assert repr(shown).splitlines() == [f"open      {url}", "user      admin",
                                        f"password  {command}"]  # fmt: skip
    html = shown._repr_html_()
    assert f'<a href="{url}"' in html
    assert f"<code>{command}</code>" in html
    assert "--name" not in Dashboard("lab", shown.tunnel).password_command


def test_a_closed_one_says_so(shown: Dashboard) -> None:
    shown.close()
    for text in (repr(shown), shown._repr_html_()):
        assert "lab.dashboard()" in text
        assert "http" not in text


def test_it_serves_as_long_as_it_is_open_by_that_host_at_that_port(
    box: Box, shown: Dashboard
) -> None:
    port = shown.tunnel.port
    assert all(shown.leads(box.host, each) for each in (None, 0, port))
    assert not shown.leads(box.host, port + 1)
    assert not shown.leads(box.world.host(box.eip), None)
    shown.close()
    assert not shown.leads(box.host, None)


def test_an_instance_without_one_says_what_to_set(box: Box) -> None:
    with pytest.raises(StepNotReady, match="no dashboard") as caught:
        lead(box.host, "lab")
    assert 'dashboard = "yes"' in caught.value.next
    assert "lab.install_cloud()" in caught.value.next
