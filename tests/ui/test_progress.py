"""Hold what is said of a running step against streams, switches and widgets."""

from __future__ import annotations

import io
from typing import Any

import IPython
import IPython.display
import pytest

from osawslab.ui.progress import (
    HtmlProgress,
    NoProgress,
    NotebookProgress,
    Progress,
    TerminalProgress,
    line,
    progress,
    progress_html,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ZMQInteractiveShell:
    """Stands for a kernel's shell."""


def play(on: Progress) -> None:
    on.start("swap_mac", 2)
    on.action("ip link set eth1 address …")
    on.action("two\nlines \x1b[2J")
    on.done("nothing <left>")


LINES = (
    "swap_mac 1/2: ip link set eth1 address …\n"
    "swap_mac 2/2: two lines [2J\n"
    "swap_mac: nothing <left>\n"
)


@pytest.mark.parametrize(
    ("stream", "environ", "escapes"),
    [
        (io.StringIO, {}, 0),
        (Terminal, {}, 6),
        (Terminal, {"NO_COLOR": "1"}, 0),
        (Terminal, {"NO_COLOR": ""}, 6),  # no-color.org: when not empty
        (Terminal, {"TERM": "dumb"}, 0),
    ],
)
def test_lines_in_a_terminal(
    stream: type[io.StringIO], environ: dict[str, str], escapes: int
) -> None:
    out = stream()
    play(TerminalProgress(out, environ))
    text = out.getvalue()
    assert text.count("\x1b") == escapes
    for code in ("\x1b[36m", "\x1b[1m", "\x1b[0m"):
        text = text.replace(code, "")
    assert text == LINES


def test_a_terminal_shows_what_a_person_would_type() -> None:
    out = io.StringIO()
    on = TerminalProgress(out, {})
    on.start("networks", 1)
    on.action("the chains", where="instance", command="iptables-restore <<'END'\n*nat\nEND")
    assert out.getvalue() == (
        "networks 1/1: the chains\n"
        "  instance  iptables-restore <<'END'\n"
        "            *nat\n"
        "            END\n"
    )


def test_a_terminal_counts_anew_with_each_step() -> None:
    out = io.StringIO()
    on = TerminalProgress(out, {})
    play(on)
    play(on)
    assert out.getvalue() == LINES * 2


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    play(TerminalProgress(environ={}))
    assert capsys.readouterr() == ("", LINES)


def test_html_says_how_far_a_step_is() -> None:
    said: list[str] = []
    play(HtmlProgress(said.append))
    words = ("0 of 2: begins", "1 of 2: ip link", "2 of 2: two lines", "nothing &lt;left&gt;")
    assert all(each in html for each, html in zip(words, said, strict=True))
    assert 'value="1" max="2"' in said[2]


@pytest.mark.parametrize(("at", "total", "value"), [(0, 3, 0), (1, 3, 0), (3, 3, 2), (9, 3, 2)])
def test_a_bar_shows_what_is_done(at: int, total: int, value: int) -> None:
    assert f'value="{value}" max="{total}"' in progress_html("verify", at, total, "x")


def test_names_and_words_are_escaped() -> None:
    for total in (0, 1):
        html = progress_html('<b a="">', 1, total, "<i>")
        assert "<b" not in html
        assert "<i>" not in html


def test_a_line_has_no_control_characters() -> None:
    assert line("a\tb\r\n\x07c\u202e") == "a b c"


def test_a_notebook_shows_one_widget_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    displayed: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)
    on = NotebookProgress()
    on.action("before a start says nothing")
    on.start("swap_mac", 1)
    (widget,) = displayed
    assert "begins" in widget.value
    on.action("ip link")
    assert "1 of 1: ip link" in widget.value
    assert displayed == [widget]
    assert widget.comm is not None
    on.done("ended")
    assert widget.comm is None
    on.done("again")


def test_a_step_that_never_ended_leaves_no_widget(monkeypatch: pytest.MonkeyPatch) -> None:
    displayed: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)
    on = NotebookProgress()
    on.start("networks", 1)
    on.start("swap_mac", 1)
    assert [widget.comm is None for widget in displayed] == [True, False]
    on.done("")


@pytest.mark.parametrize(
    ("environ", "shell", "wanted"),
    [
        ({"OSAWSLAB_PROGRESS": "0"}, None, NoProgress),
        ({"OSAWSLAB_PROGRESS": "0"}, ZMQInteractiveShell(), NoProgress),
        ({"OSAWSLAB_PROGRESS": "1"}, ZMQInteractiveShell(), NotebookProgress),
        ({}, ZMQInteractiveShell(), NotebookProgress),
        ({}, None, TerminalProgress),
        ({}, object(), TerminalProgress),
    ],
)
def test_the_place_is_chosen(
    environ: dict[str, str], shell: object, wanted: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(IPython, "get_ipython", lambda: shell)
    assert type(progress(environ)) is wanted


def test_no_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    play(NoProgress())
    assert capsys.readouterr() == ("", "")
