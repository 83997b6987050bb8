"""Every damaged output of the corpus: no verb ends raw, and some verb names the file. Verbs run in this process."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from dreamcache.core.errors import DreamCacheError
from dreamcache.storage.status import read_status
from jobs.cli.main import app
from tests.command import write_job
from tests.corpus.kind import Door, Kind, case_id, cases
from tests.jobs.conftest import write_model

Invoke = Callable[..., tuple[int, str]]
OK = (0, 3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A job whose only photo is missing, run to its end."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "catalog.csv").write_text("subject_id,image\na,none.png\n")
    write_job(folder, catalog="catalog.csv", output="output", prompts=["x"], model=write_model(folder))
    assert invoke("run", str(folder / "job.yaml"), "--quiet") == (3, "")
    return folder


def invoke(*args: str) -> tuple[int, str]:
    """(exit code, error code) of a command; what is no error of ours is raised."""
    old, sys.argv = sys.argv, ["dreamcache", *args]
    try:
        app(args=list(args))
    except DreamCacheError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 3000, message
        return 1, error.code
    except SystemExit as end:
        return int(end.code or 0), ""
    finally:
        sys.argv = old
    raise AssertionError("a command ends with an exit code")


@pytest.fixture
def output(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good output, beside its job file."""
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    shutil.copytree(finished, tmp_path / "job")
    text = (tmp_path / "job/job.yaml").read_text().replace(str(finished), str(tmp_path / "job"))
    (tmp_path / "job/job.yaml").write_text(text)
    return tmp_path / "job/output"


LATER = pytest.mark.slow


def of_kind(door: Door, quick: int) -> list[ParameterSet]:
    """Each input of a door; those after the first `quick` of their kind are slow."""
    return [
        pytest.param(kind, name, marks=LATER if list(kind.inputs).index(name) >= quick else ())
        for kind, name in cases(door)
        if not kind.name.startswith("forged/")  # these have a door of their own
    ]


@pytest.mark.parametrize(("kind", "name"), of_kind("output", quick=1), ids=case_id)
def test_a_damaged_output_ends_no_verb_raw(kind: Kind, name: str, output: Path, tmp_path: Path) -> None:
    item = next(iter((output / "ledger").glob("part-*"))).name[5:8]
    kind.inputs[name](output)
    folder, job = str(output), str(output.parent / "job.yaml")
    ended = {
        "status": invoke("status", folder),
        "status --json": invoke("status", folder, "--json"),
        "list": invoke("list", "--output-root", str(output.parent)),
        "outputs": invoke("outputs", folder),
        "outputs --json": invoke("outputs", folder, "--json"),
        "export": invoke("export", folder, str(tmp_path / "images"), "--quiet"),
        "export csv": invoke("export", folder, str(tmp_path / "list.csv"), "--to", "csv", "--quiet"),
        "gallery": invoke("gallery", folder),
        "replay": invoke("replay", item, "--output", folder),
        "retry": invoke("retry", job, "--dry-run"),
        "plan": invoke("plan", job),
        "run": invoke("run", job, "--quiet"),
    }
    codes = {code for _, code in ended.values()}
    assert kind.code in codes, ended
    if kind.name in (
        "output/status.json",
        "output/manifest.json",
        "output/manifest.parquet",
    ):
        assert ended["run"][0] == 3, ended
        assert read_status(folder) is not None
        assert invoke("status", folder)[0] == invoke("outputs", folder)[0] == 0
