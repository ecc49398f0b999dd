"""A card for an exercise: hints, an answer to choose, the check; the same calls as in a cell."""

from __future__ import annotations

from typing import Any, Protocol

from ipywidgets import HTML, Button, Dropdown, HBox, Label, Layout, VBox, Widget

from osawslab.report import Table
from osawslab.ui.panel import Panel, said

BUTTONS = {  # name: what it does, as a tooltip
    "Hint": "Help a little; again: help more. What you read is counted",
    "Answer": "Say that something was broken at the chosen place",
    "Check": "Try the lab with real packets",
}
NONE = "choose a place …"


class Practice(Protocol):
    """What the card needs of an exercise."""

    lab: Any
    exercise: Any

    @property
    def places(self) -> Table:
        """List what may be the answer, in the first column."""

    def hint(self) -> str:
        """Give the next hint."""

    def answer(self, *places: str) -> Any:
        """Say where something was broken."""

    def check(self) -> Any:
        """Try the lab."""


def exercise(practice: Practice) -> Widget:
    """Make the card; its last child is the HTML widget with what was said last."""
    return Card(practice).card


class Card(Panel):
    """The buttons of one exercise."""

    def __init__(self, practice: Practice) -> None:
        self.lab, self.practice = practice.lab, practice
        self.step = f"exercise {practice.exercise.called}"
        self.shown = HTML(said("<p>Look first, with the tables and captures; then answer.</p>"))
        self.shown.add_class("jp-RenderedHTMLCommon")
        rows = practice.places.rows
        self.chosen = Dropdown(
            options=[(NONE, ""), *((f"{key}: {what}", key) for key, _, what in rows)],
            description="Place",
            layout=Layout(width="100%", max_width="50em"),
        )
        self.buttons = {
            name: Button(
                description=name,
                tooltip=f"{self.step}: {what}",
                tabbable=True,
                layout=Layout(width="auto", min_width="7em"),
            )
            for name, what in BUTTONS.items()
        }
        self.buttons["Answer"].button_style = "primary"
        for name, button in self.buttons.items():
            button.on_click(lambda _, name=name: self.click(name))
        self.title = Label(self.step.capitalize(), style={"font_weight": "bold"})
        self.card = VBox(
            [
                self.title,
                self.chosen,
                HBox(list(self.buttons.values()), layout=Layout(flex_flow="row wrap")),
                self.shown,
            ],
            layout=Layout(border="1px solid #7b8894", padding="8px 12px"),
        )

    def _tell_meter(self) -> None:
        """Leave the title as it is: the steps' panels tell that."""

    def _call(self, name: str) -> Any:
        if name != "Answer":
            return getattr(self.practice, name.lower())()
        if not self.chosen.value:
            return "Choose a place first."
        return self.practice.answer(self.chosen.value)
