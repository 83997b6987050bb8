"""Recipes for schedulers: they parse, name what the schedulers have, and call commands and options that exist.

`make schedulers` runs them with the real Airflow and Dagster.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from jobs.cli.main import app

RECIPES = Path(__file__).parents[2] / "recipes/schedulers"
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def calls_of(path: Path) -> list[list[str]]:
    """Texts of each call of `dreamcache(...)`; "" for what is no literal."""
    tree = ast.parse(path.read_text())
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "dreamcache"]
    return [[arg.value if isinstance(arg, ast.Constant) else "" for arg in call.args] for call in named]


def check_words(words: list[str]) -> None:
    """The verb and its options exist, and every option that needs a value has one."""
    command = COMMANDS[words[0]]
    options = {name: param for param in command.params for name in param.opts if name.startswith("-")}
    positional, place = 0, 1
    while place < len(words):
        word = words[place]
        if word.startswith("-"):
            assert word in options, (words[0], word)
            place += 0 if options[word].is_flag else 1
        else:
            positional += 1
        place += 1
    assert place == len(words)
    assert positional == sum(
        param.required for param in command.params if param.param_type_name == "argument"
    )


@pytest.mark.parametrize("name", ["airflow_dag.py", "dagster_assets.py"])
def test_python_recipes_call_commands_that_exist(name: str) -> None:
    calls = calls_of(RECIPES / name)
    assert [words[0] for words in calls] == ["run", "export"]
    for words in calls:
        assert "--ok-with-failures" in words and "--json" in words
        check_words(words)


def test_the_workflow_is_one_that_argo_takes() -> None:
    workflow = yaml.safe_load((RECIPES / "argo_workflow.yaml").read_text())
    assert (workflow["apiVersion"], workflow["kind"]) == ("argoproj.io/v1alpha1", "Workflow")
    spec = workflow["spec"]
    assert set(spec) == {"entrypoint", "serviceAccountName", "arguments", "volumes", "templates"}
    templates = {template["name"]: template for template in spec["templates"]}
    tasks = {task["name"]: task for task in templates[spec["entrypoint"]]["dag"]["tasks"]}
    assert {task["template"] for task in tasks.values()} < set(templates)
    assert all(set(task.get("dependencies", ())) < set(tasks) for task in tasks.values())
    parameters = {parameter["name"] for parameter in spec["arguments"]["parameters"]}
    volumes = {volume["name"] for volume in spec["volumes"]}
    for name in ("generate", "export"):
        template = templates[name]
        container = template["container"]
        assert set(template) == {"name", "retryStrategy", "container"}
        assert set(template["retryStrategy"]) == {"limit", "retryPolicy", "expression", "backoff"}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["command"] == ["dreamcache"]
        check_words([str(word) for word in container["args"]])
        texts = [container["image"], *container["args"]]
        used = {text[len("{{workflow.parameters.") : -2] for text in texts if text.startswith("{{")}
        assert used <= parameters


def test_what_no_retry_changes_is_not_retried() -> None:
    for name in ("airflow_dag.py", "dagster_assets.py"):
        assert "USELESS_TO_RETRY = (2, 4)" in (RECIPES / name).read_text()
