"""What runs in front of JupyterHub's single-user server, and the values for Kubernetes."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from osawslab import hub
from osawslab.errors import MissingTool

yaml: Any = pytest.importorskip("yaml")
BINDER = Path(__file__).resolve().parents[1] / "binder"
VALUES = BINDER / "zero-to-jupyterhub.yaml"


def test_a_learners_lab_and_record_are_in_their_own_home(tmp_path: Path) -> None:
    found = hub.environment({"JUPYTERHUB_USER": "ada-1", "LANG": "C"}, tmp_path)
    assert found == {
        "JUPYTERHUB_USER": "ada-1", "LANG": "C", "OSAWSLAB_LEARNER": "ada-1",
        "OSAWSLAB_RECORD": str(tmp_path / ".osawslab-record"),
    }  # fmt: skip


def test_a_name_that_ec2_would_refuse_as_a_tag_is_made_one(tmp_path: Path) -> None:
    assert hub.environment({"JUPYTERHUB_USER": "a;d{a}"}, tmp_path)["OSAWSLAB_LEARNER"] == "ada"


def test_without_jupyterhub_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingTool, match="not in this environment") as met:
        hub.main()
    assert "osawslab[hub]" in met.value.next


def test_the_configuration_is_python_and_names_our_server() -> None:
    text = (BINDER / "jupyterhub_config.py").read_text()
    ast.parse(text)
    assert "osawslab.hub" in text


def check(schema: dict[str, Any], value: Any, path: str = "") -> list[str]:
    """Name what a schema does not know: keys, types, words of an enumeration."""
    wrong: list[str] = []
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, KINDS[kind]) for kind in kinds):
        wrong.append(f"{path}: {value!r} is no {' or '.join(kinds)}")
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{path}: {value!r}")
    if isinstance(value, dict) and schema.get("additionalProperties") is False:
        known = schema.get("properties", {})
        for key, each in value.items():
            below = f"{path}.{key}"
            if key in known:
                wrong += check(known[key], each, below)
            elif not any(re.search(form, key) for form in schema.get("patternProperties", {})):
                wrong.append(below)
    return wrong


KINDS: dict[str, Any] = {
    "object": dict, "string": str, "integer": int, "boolean": bool, "array": list,
    "null": type(None), "number": (int, float),
}  # fmt: skip
SCHEMA = json.loads((Path(__file__).parent / "kit" / "z2jh-schema.json").read_text())


def test_the_values_for_kubernetes_fit_the_charts_schema() -> None:
    values = yaml.safe_load(VALUES.read_text())
    assert check(SCHEMA["schema"], values) == []
    assert values["singleuser"]["cmd"][-1] == "osawslab.hub"
    assert values["singleuser"]["extraEnv"]["OSAWSLAB_PUBLIC"] == ""  # else it takes no AWS keys
    assert values["singleuser"]["storage"]["capacity"]  # what is in a home is kept


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"singleuser": {"storge": {}}}, [".singleuser.storge"]),
        ({"singleuser": {"cmd": 7}}, [".singleuser.cmd: 7 is no array or string or null"]),
        ({"singleuser": {"storage": {"type": "disk"}}}, [".singleuser.storage.type: 'disk'"]),
    ],
)
def test_the_schema_finds_what_is_wrong(wrong: dict[str, Any], said: list[str]) -> None:
    found = check(SCHEMA["schema"], wrong)
    assert [each.split(" is no")[0] for each in found] == [s.split(" is no")[0] for s in said]
