"""Every example of the pages: settings parse, commands parse, Python runs on the embedded model.

What needs a cluster, an account or weights that are not here is parsed only.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from dreamcache.core.errors import SpecError
from jobs.ablate.spec import parse_ablate_spec
from jobs.cli import main
from jobs.evaluate.spec import parse_eval_spec
from jobs.spec import parse_spec
from jobs.synthesize.spec import parse_synth_spec
from jobs.train.spec import parse_train_spec
from tests.docs.pages import GENERATED, REPOSITORY, SHELL, Block, blocks, pages

JOB = {"name": "x", "catalog": "c.csv", "output": "out"}
TRAINING = {"name": "x", "output": "out", "train": {"data": {"path": "data"}}}
GATED = {**JOB, "quality": {"image_metric": "clip_i", "min_image": 0.5, "metrics": {"clip": "mini"}}}
SYNTHESIS = {"name": "x", "output": "out"}
EVALUATION = {"name": "x", "output": "out", "dreambench": {"path": "d"}, "methods": [{"name": "a"}]}
SWEEP = {"name": "x", "output": "out", "dreambench": {"path": "d"}, "sweep": {"combined": [0, 1]}}
KINDS: tuple[tuple[Callable[..., Any], Mapping[str, Any], str], ...] = (
    (parse_spec, JOB, ""),
    (parse_spec, JOB, "generation."),
    (parse_spec, GATED, "quality."),
    (parse_spec, GATED, "quality.metrics."),
    (parse_train_spec, TRAINING, ""),
    (parse_train_spec, TRAINING, "train."),
    (parse_train_spec, TRAINING, "train.data."),
    (parse_train_spec, TRAINING, "train.reference."),
    (parse_synth_spec, SYNTHESIS, ""),
    (parse_eval_spec, EVALUATION, ""),
    (parse_eval_spec, SWEEP, "sweep."),
    (parse_ablate_spec, {}, ""),
)
INLINE_SETTING = re.compile(r"(?P<key>[a-z_]+(\.[a-z_]+)*): (?P<value>\S.*)", re.DOTALL)
COMMAND = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:\S*/)?dreamcache (?P<arguments>.+)$")


@lru_cache
def _app() -> Any:
    (app,) = [value for value in vars(main).values() if isinstance(value, typer.Typer)]
    return typer.main.get_command(app)


def _ids(examples: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in examples]


# Settings


def _accepts(values: Mapping[str, Any]) -> bool:
    """Whether some kind of file has these settings, as a whole file."""
    for parse in {kind[0] for kind in KINDS}:
        try:
            parse(values)
        except SpecError:
            continue
        return True
    return False


def _with(file: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The file with one setting, named by dots, put in place; a group is joined with the file's own."""
    head, _, rest = key.partition(".")
    own = file.get(head)
    group = own if isinstance(own, Mapping) else {}
    if rest:
        return {**file, head: _with(group, rest, value)}
    return {**file, head: {**group, **value} if isinstance(value, Mapping) else value}


def _is_a_setting(key: str, value: Any) -> bool:
    for parse, file, prefix in KINDS:
        try:
            parse(_with(file, prefix + key, value))
        except SpecError:
            continue
        return True
    return False


def _inline_settings() -> Iterator[tuple[str, tuple[str, Any]]]:
    for one in pages():
        for span in one.spans if one.path != GENERATED else ():
            match = INLINE_SETTING.fullmatch(span)
            if match and "..." not in span and "<" not in span:
                yield f"{one.name}: {span[:50]}", (match["key"], yaml.safe_load(match["value"]))
            elif span.startswith("{") and ": " in span:
                yield f"{one.name}: {span[:50]}", ("", yaml.safe_load(span))


YAML_BLOCKS = blocks("yaml")
INLINE_SETTINGS = list(_inline_settings())


@pytest.mark.parametrize(("where", "block"), YAML_BLOCKS, ids=_ids(YAML_BLOCKS))
def test_yaml_blocks_are_whole_files(where: str, block: Block) -> None:
    assert _accepts(yaml.safe_load(block.text))


@pytest.mark.parametrize(("where", "setting"), INLINE_SETTINGS, ids=_ids(INLINE_SETTINGS))
def test_settings_in_the_text_are_settings(where: str, setting: tuple[str, Any]) -> None:
    key, value = setting
    assert _is_a_setting(key, value) if key else _accepts(value)


def test_a_wrong_setting_is_noticed() -> None:
    assert not _is_a_setting("generation", {"guidence": "joint"})
    assert not _accepts({**JOB, "samples": 0})


# Commands


def _commands() -> Iterator[tuple[str, list[str]]]:
    for where, block in blocks(*SHELL):
        for line in block.text.replace("\\\n", " ").splitlines():
            if match := COMMAND.match(line.split(" #")[0].strip().removesuffix("&").strip()):
                yield f"{where} {match['arguments'][:40]}", shlex.split(match["arguments"])
    for one in pages():
        for span in one.spans:
            if (match := COMMAND.match(span)) and not re.search(r"[<|]|\.\.\.|(^| )[A-Z]+( |$)", span):
                yield f"{one.name} {match['arguments'][:40]}", shlex.split(match["arguments"])


COMMANDS = list(_commands())


def _parse(arguments: list[str]) -> None:
    """Parses a command as `dreamcache` does, without calling it; a verb alone names it. Exceptions are usage errors."""
    command, context = _app(), None
    while hasattr(command, "resolve_command"):
        context = command.make_context(command.name or "dreamcache", list(arguments), parent=context)
        rest = [*getattr(context, "_protected_args", ()), *context.args]
        _, command, arguments = command.resolve_command(context, rest)
        if not arguments:
            return
    command.make_context(command.name, list(arguments), parent=context)


@pytest.mark.parametrize(("where", "arguments"), COMMANDS, ids=_ids(COMMANDS))
def test_commands_parse(where: str, arguments: list[str]) -> None:
    _parse(arguments)


@pytest.mark.parametrize(
    "wrong", ["rum job.yaml", "run job.yaml --adress HEAD", "plan job.yaml --calibrate x"]
)
def test_a_wrong_command_is_noticed(wrong: str) -> None:
    with pytest.raises(Exception, match=r"No such|valid integer"):
        _parse(wrong.split())


def test_shell_blocks_are_shell() -> None:
    for where, block in blocks("sh", "bash"):
        done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{where}: {done.stderr}"


def test_make_targets_and_modules_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    text = [span for one in pages() for span in one.spans] + [block.text for _, block in blocks(*SHELL)]
    named = {name for part in text for name in re.findall(r"^ *make ([\w-]+)", part, re.MULTILINE)}
    assert named
    assert named <= targets
    modules = {name for part in text for name in re.findall(r"python -m ([\w.]+)", part)}
    assert all(importlib.util.find_spec(name) for name in modules)
    scripts = {name for part in text for name in re.findall(r"python ([\w/.]+\.py)", part)}
    assert all((REPOSITORY / name).is_file() for name in scripts)


# What runs


def _block(page: str, language: str, start: str) -> str:
    """The one block of a page that begins so."""
    (text,) = [
        block.text
        for where, block in blocks(language)
        if where.startswith(page) and block.text.startswith(start)
    ]
    return text


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of README's sample job, written by its own first line with one product."""
    from typer.testing import CliRunner

    folder = tmp_path_factory.mktemp("readme") / "my-job"
    (line,) = [c for where, c in COMMANDS if where.startswith("README.md") and c[:2] == ["init", "my-job"]]
    arguments = [{"my-job": str(folder), "12": "1"}.get(word, word) for word in line]
    assert CliRunner().invoke(_typer(), arguments, catch_exceptions=False).exit_code == 0
    return folder


def _typer() -> typer.Typer:
    (app,) = [value for value in vars(main).values() if isinstance(value, typer.Typer)]
    return app


def _run(*arguments: str) -> str:
    from typer.testing import CliRunner

    done = CliRunner().invoke(_typer(), list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_sample_job_is_planned(starter: Path) -> None:
    plan = json.loads(_run("plan", str(starter / "job.yaml"), "--json"))
    assert (plan["subjects"], plan["items"], plan["new"]) == (1, 6, 6)


def test_the_catalog_of_the_example(tmp_path: Path, starter: Path) -> None:
    (tmp_path / "catalog.csv").write_text(_block("docs/jobs.md", "csv", "subject_id"))
    (tmp_path / "photos").mkdir()
    photo = next((starter / "images").iterdir())
    (tmp_path / "photos" / "mug-0001.jpg").write_bytes(photo.read_bytes())
    file = {"name": "x", "catalog": "catalog.csv", "output": "out", "prompts": ["a {color} {class_name}"]}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(file))
    plan = json.loads(_run("plan", str(tmp_path / "job.yaml"), "--json"))
    assert (plan["items"], plan["new"], plan["failed"]) == (1, 1, 0)
    assert not plan.get("cannot_run")


@pytest.mark.ray
@pytest.mark.slow
def test_python_reads_a_job_that_ran(starter: Path) -> None:
    cheap = ["--set", "generation.num_inference_steps=1", "--set", "prompts=[a photo of a mug]"]
    _run("run", str(starter / "job.yaml"), *cheap)
    output = str(starter / "output")
    for name in ("README.md", "docs/jobs.md"):
        lines = _block(name, "python", "import jobs").replace("s3://shop/jobs/autumn", output).splitlines()
        values: dict[str, Any] = {}
        exec("\n".join([*lines[:-1], f"rows = {lines[-1]}"]), values)
        assert list(values["rows"].columns) == ["subject_id", "prompt", "uri"]
        assert len(values["rows"]) == 1
    item = values["table"]["item_id"][0].as_py()
    changes = {"s3://shop/jobs/autumn": output, "my-job/job.yaml": output, "3f2a91": item}
    changes["s3://shop/features"] = str(starter / "output-cache")
    for where, arguments in COMMANDS:
        if where.startswith("docs/jobs.md") and arguments[0] in ("status", "outputs", "gallery", "cache"):
            _run(*(changes.get(word, word) for word in arguments))


def test_python_of_the_pipeline(starter: Path) -> None:
    from PIL import Image

    values: dict[str, Any] = {"image": Image.open(next((starter / "images").iterdir()))}
    text, last = _block("README.md", "python", "from dreamcache import"), "image_scale=[2.0, 0.0])"
    assert last in text
    exec(text.replace(last, f"{last[:-1]}, num_inference_steps=2)"), values)
    assert [image.size for image in values["images"]] == [(64, 64)] * 2
