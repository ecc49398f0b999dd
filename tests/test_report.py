"""Show tables, pictures and reports as text, as HTML and as a DataFrame."""

from __future__ import annotations

import re

import pytest

from osawslab.report import Action, Check, Checks, Picture, Plan, Report, Shell, Table

TABLE = Table(
    "A <b> caption", ("who", "command"), (("you & I", "ip <x>\n  up"), ("", "")), ("command",)
)
CHECKS = (Check("MAC", "02:aa", "02:bb", False, "lab.swap_mac()"), Check("IP", "a", "a", True, "x"))
ACTION = Action("instance", "why", "ip link", lambda: None)


def plain(html: str) -> str:
    return re.sub(r"<[^>]*>", "|", html)


def test_a_table_is_text_html_and_a_frame() -> None:
    assert repr(TABLE).splitlines()[:2] == ["A <b> caption", "who      command"]
    html = TABLE._repr_html_()
    assert "A &lt;b&gt; caption</caption>" in html
    assert "<code>ip &lt;x&gt;\n  up</code></td>" in html
    assert ">you &amp; I</td>" in html
    assert html.count("<code>") == 1  # an empty cell is no command
    assert html.count('<th scope="col"') == 2
    assert html.count("text-align: left; white-space: pre") == 1 + 2 + 4
    assert TABLE.frame.to_dict("list") == {"who": ["you & I", ""], "command": ["ip <x>\n  up", ""]}


def test_what_is_short_stays_on_one_line() -> None:
    html = Table("c", ("a",), (("NOT OK",), ("a sentence that is long",)))._repr_html_()
    assert 'white-space: pre">NOT OK<' in html
    assert 'white-space: pre-wrap">a sentence' in html


@pytest.mark.parametrize("empty", [Table("none", ("a", "b"), ()), Plan("verify", ())])
def test_nothing_is_said_aloud(empty: Table | Plan) -> None:
    assert repr(empty).endswith("\n(none)")
    assert ">(none)</td></tr></tbody>" in empty._repr_html_()


def test_checks_say_what_to_type_only_where_they_do_not_hold() -> None:
    checks = Checks("swap_mac", CHECKS)
    assert not checks
    assert Checks("swap_mac", CHECKS[1:])
    for text in (repr(checks), plain(checks._repr_html_())):
        assert "NOT OK" in text
        assert "lab.swap_mac()" in text
        assert "x" not in text.replace("expected", "").replace("next", "")


def test_a_report_says_the_same_in_text_and_html() -> None:
    picture = Picture("<svg/>", 'a "picture"')
    report = Report("swap_mac", "lab", (ACTION,), CHECKS, ("a <note>",), (TABLE,), (picture,))
    assert report.changed
    assert not report.ok
    assert repr(report) == "swap_mac: 1 done, 1 of 2 checks hold"
    html = report._repr_html_()
    for word in ("a &lt;note&gt;", 'alt="a &quot;picture&quot;"', "<code>ip link</code>", "NOT OK"):
        assert word in html
    for word in ("a <note>", 'a "picture"', "ip link", "NOT OK", "A <b> caption"):
        assert word in report.text
    again = Report("swap_mac", "lab", (), CHECKS[1:])
    assert repr(again) == "swap_mac: nothing to do, 1 of 1 checks hold"
    assert "<details>" not in again._repr_html_()


def test_a_command_is_shown_as_what_it_printed() -> None:
    assert repr(Shell("uname -n", "ip-172-16-10-101")) == "ip-172-16-10-101"
