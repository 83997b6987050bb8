"""What the command line's help states: summaries that fit, examples that parse, completion, a version."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from typer.testing import CliRunner

import dreamcache
from jobs.cli.main import app
from jobs.cli.settings_reference import settings_reference
from jobs.schema import FILE_KINDS, FileKind, json_schema, read_docstring
from tests.command import COMMAND, environment

ROOT = Path(__file__).parents[2]
WIDTH = 80
VERBS = (
    "demo init plan run submit status logs stop list retry outputs export gallery replay cache adapter train "
    "cluster deploy detect review ablate provenance synthesize evaluate bench doctor schema"
).split()


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every verb that runs something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from leaves(inner, (*path, name))


ROOT_COMMAND: Any = typer.main.get_command(app)
LEAVES = dict(leaves(ROOT_COMMAND))


def help_of(*verb: str) -> str:
    done = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": str(WIDTH)})
    assert done.exit_code == 0, done.output
    return done.output


def test_all_verbs_are_there() -> None:
    assert sorted(ROOT_COMMAND.commands) == sorted(VERBS)


@pytest.mark.parametrize("group", [(), ("cache",), ("adapter",), ("bench",), ("cluster",), ("deploy",)])
def test_summaries_fit(group: tuple[str, ...]) -> None:
    text = help_of(*group)
    assert all(len(line) <= WIDTH for line in text.splitlines()), text
    assert "..." not in text.split("Commands:")[1]


def parse(command: Any, args: list[str]) -> None:
    """Raises as the command line does where it would refuse the arguments; runs nothing."""
    with command.make_context("dreamcache", args) as context:
        if hasattr(command, "commands"):
            rest = [*context._protected_args, *context.args]
            _, inner, rest = command.resolve_command(context, rest)
            parse(inner, rest)


@pytest.mark.parametrize("verb", LEAVES, ids=" ".join)
def test_every_verb_has_examples_that_parse(verb: tuple[str, ...]) -> None:
    text = help_of(*verb).split("Examples:\n")[1]
    examples = [line.strip() for line in text.splitlines() if line.strip()]
    assert examples and all(line.startswith(f"dreamcache {' '.join(verb)}") for line in examples), text
    for example in examples:
        parse(ROOT_COMMAND, shlex.split(example)[1:])


def test_a_wrong_example_would_be_noticed() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(ROOT_COMMAND, ["run", "job.yaml", "--fast"])


@pytest.mark.parametrize("verb", [verb for verb in LEAVES if verb != ("schema",)], ids=" ".join)
def test_every_verb_has_json(verb: tuple[str, ...]) -> None:
    assert any("--json" in option.opts for option in LEAVES[verb].params)


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"dreamcache {dreamcache.__version__}\n"


def test_completion_is_offered_and_works() -> None:
    asked = {"_DREAMCACHE_COMPLETE": "complete_bash", "COMP_WORDS": "dreamcache s", "COMP_CWORD": "1"}
    done = subprocess.run(
        [COMMAND], capture_output=True, text=True, timeout=60, env={**environment(), **asked}
    )
    assert set(done.stdout.split()) == {"schema", "submit", "status", "stop", "synthesize"}, done.stderr
    script = subprocess.run(
        [COMMAND],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment(), "_DREAMCACHE_COMPLETE": "source_bash"},
    )
    assert "complete -o default -F" in script.stdout
    assert "--install-completion" in help_of() and "--show-completion" in help_of()


def test_uris_are_whole_where_stdout_is_no_terminal(tmp_path: Path) -> None:
    root = tmp_path / ("long" * 20) / "outputs"
    status = {"job": "a", "state": "finished", "updated_at": "2026-11-01T10:00:00+00:00"}
    (root / "autumn").mkdir(parents=True)
    (root / "autumn" / "status.json").write_text(json.dumps(status))
    away = {"RAY_ADDRESS": "http://127.0.0.1:9", **os.environ}
    done = subprocess.run(
        [COMMAND, "list", "--output-root", str(root)], capture_output=True, text=True, timeout=120, env=away
    )
    assert str(root / "autumn") in done.stdout, done.stderr


def schema_of(kind: FileKind) -> jsonschema.Draft202012Validator:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$schema"]
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("kind", FILE_KINDS)
def test_a_schema_refuses_an_unknown_key(kind: FileKind) -> None:
    printed = CliRunner().invoke(app, ["schema", kind])
    assert json.loads(printed.output) == json_schema(kind)
    value = {"name": "a", "output": "o", "catalog": "c", "train": {"data": {"path": "d"}}, "methods": []}
    value |= {"training": {}, "variants": [{"name": "a"}]}
    known = json_schema(kind)["properties"]
    value = {key: item for key, item in value.items() if key in known}
    assert schema_of(kind).is_valid(value), list(schema_of(kind).iter_errors(value))
    assert not schema_of(kind).is_valid({**value, "nmae": "a"})
    assert not schema_of(kind).is_valid({**value, "workers": {"cout": 1}})


def test_init_writes_a_job_that_its_schema_accepts(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["init", str(tmp_path), "--json"])
    paths = json.loads(done.output)
    text = Path(paths["job"]).read_text()
    assert text.splitlines()[0] == "# yaml-language-server: $schema=job.schema.json"
    assert Path(paths["schema"]) == tmp_path / "job.schema.json" and Path(paths["catalog"]).exists()
    schema = json.loads(Path(paths["schema"]).read_text())
    jsonschema.validate(yaml.safe_load(text), schema)


def whole_files() -> Iterator[tuple[str, FileKind, Any]]:
    """Every YAML block of the docs that is a whole settings file: it has a name and an output."""
    for page in sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]):
        for number, block in enumerate(page.read_text().split("```yaml\n")[1:]):
            value = yaml.safe_load(block.split("```")[0])
            if not isinstance(value, dict) or not {"name", "output"} <= set(value):
                continue
            signs: dict[str, FileKind] = {
                "variants": "ablate",
                "train": "train",
                "captions": "synthesize",
                "catalog": "job",
            }
            kind = next((kind for key, kind in signs.items() if key in value), "evaluate")
            yield f"{page.name}-{number}", kind, value


WHOLE_FILES = list(whole_files())


@pytest.mark.parametrize(
    ("kind", "value"), [item[1:] for item in WHOLE_FILES], ids=[item[0] for item in WHOLE_FILES]
)
def test_schemas_accept_the_files_of_the_docs(kind: FileKind, value: dict[str, Any]) -> None:
    assert not list(schema_of(kind).iter_errors(value))


def test_the_docs_have_whole_files() -> None:
    assert {kind for _, kind, _ in WHOLE_FILES} >= {"job", "train"}


def test_meanings_come_from_docstrings() -> None:
    names = ("catalog", "columns", "height", "width", "seed")
    text = "A job. catalog: a file. columns maps names. height, width: pixels; 0 for none. seed: of it all."
    assert read_docstring(text, names) == (
        "A job.",
        {
            "catalog": "a file.",
            "columns": "columns maps names.",
            "height": "pixels; 0 for none.",
            "width": "pixels; 0 for none.",
            "seed": "of it all.",
        },
    )


def test_the_settings_reference_is_current() -> None:
    remedy = "docs/settings.md is not what the types say; run 'make settings'"
    assert (ROOT / "docs" / "settings.md").read_text() == settings_reference(), remedy
