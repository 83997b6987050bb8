"""The command line: what it loads, how it ends, and that scripts can read every answer. No Ray is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamcache.storage.feature_cache import FeatureCache, RawTensor, StoredFeatures
from tests.command import dreamcache, environment, error_of, in_process, write_job

HEAVY = ("torch", "ray", "diffusers", "transformers", "s3fs")
NOT_FOR_HELP = (*HEAVY, "pyarrow", "pydantic")


@pytest.fixture
def job(tmp_path: Path, model: dict[str, str]) -> str:
    """A job whose only photo is missing: it runs to its end without a worker."""
    (tmp_path / "catalog.csv").write_text("subject_id,image\na,none.png\n")
    return write_job(tmp_path, catalog="catalog.csv", output="output", prompts=["x"], model=model)


@pytest.fixture
def cache(tmp_path: Path) -> str:
    """A feature cache with one sound entry."""
    features = StoredFeatures(
        cache_key="ab" * 32,
        reference_id="cd" * 32,
        base_fingerprint="ef" * 32,
        settings={"timestep": 1},
        maps={"up_blocks.1": RawTensor(data=b"\0" * 8, dtype="float16", shape=(4,))},
    )
    FeatureCache(str(tmp_path / "cache"), "ef" * 32).put(features)
    return str(tmp_path / "cache")


@pytest.mark.parametrize("verb", [["--help"], ["run", "--help"], ["plan", "{job}"], ["status", "{job}"]])
def test_nothing_heavy_is_loaded(job: str, verb: list[str]) -> None:
    code = (
        "import sys\nfrom jobs.cli.main import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', sorted(set({NOT_FOR_HELP if verb == ['--help'] else HEAVY}) & set(sys.modules)))"
    )
    args = [part.format(job=job) for part in verb]
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, timeout=60, env=environment()
    )
    assert done.stdout.splitlines()[-1] == "loaded: []", done.stderr


def test_help_is_quick() -> None:
    """Within half a second of CPU of a bare start of Python."""

    def best(*command: str) -> float:
        def once() -> float:
            before = os.times()
            subprocess.run(command, check=True, capture_output=True, timeout=60)
            after = os.times()
            return (after.children_user - before.children_user) + (
                after.children_system - before.children_system
            )

        return min(once() for _ in range(3))

    assert best(sys.executable, "-m", "jobs.cli.main", "--help") < best(sys.executable, "-c", "") + 0.5


def test_every_verb_has_help_with_its_exit_code() -> None:
    done = dreamcache("--help")
    assert done.returncode == 0
    for verb in ("demo", "init", "plan", "run", "status", "retry", "outputs", "gallery", "cache", "adapter"):
        assert f"  {verb} " in done.stdout


@pytest.mark.parametrize("args", [["fly"], ["run"], ["plan", "{job}", "--fast"]])
def test_a_wrong_command_line_is_usage(job: str, args: list[str]) -> None:
    done = dreamcache(*(part.format(job=job) for part in args))
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["plan", "none.yaml"], 2, "none.yaml: no such job file"),
        (["run", "{job}", "--set", "sampels=3"], 2, "unknown key 'sampels' (did you mean 'samples'?)"),
        (["run", "{job}", "--set", "samples"], 2, "--set samples: must be KEY=VALUE"),
        (["run", "{job}", "--set", "prompts=["], 2, "--set prompts=[: the value must be YAML"),
        (["run", "{job}", "--set", "model.base=nowhere"], 1, "model 'nowhere': must be 'mini'"),
        (["run", "{job}", "--set", "model.adapter=nowhere"], 1, "not an adapter folder"),
        (["status", "nowhere"], 1, "has no status.json; no job has run there"),
        (["outputs", "nowhere"], 1, "has no manifest.parquet"),
        (["gallery", "nowhere"], 1, "has no manifest.parquet"),
        (["cache", "show", "nowhere", "ab"], 1, "must name one reference in nowhere, names 0"),
        (
            ["status", "gcs://bucket/x"],
            1,
            "must be a local path or start with s3://, gs://, az:// or file://",
        ),
        (["status", "az://bucket/x"], 1, "must be on a disk, at s3://"),
        (["outputs", "az://bucket/x"], 1, "must be on a disk, at s3://"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(job: str, args: list[str], code: int, message: str) -> None:
    done = in_process(*(part.format(job=job) for part in args))
    assert message in error_of(done)
    assert done.returncode == code


def test_init_writes_a_job_that_plans(tmp_path: Path) -> None:
    assert in_process("init", str(tmp_path / "shop"), "--name", "spring").returncode == 0
    job = tmp_path / "shop" / "job.yaml"
    assert "name: spring" in job.read_text()
    assert (tmp_path / "shop" / "catalog.csv").read_text() == "subject_id,class_name,image\n"
    job.write_text("mine")
    assert in_process("init", str(tmp_path / "shop")).returncode == 0
    assert job.read_text() == "mine"


@pytest.mark.slow
def test_a_job_is_followed_in_json(job: str, tmp_path: Path) -> None:
    output = str(tmp_path / "output")
    planned = json.loads(in_process("plan", job, "--json").stdout)
    assert (planned["items"], planned["pending"], planned["cannot_run"][0]["code"]) == (1, 1, "missing_image")
    assert not Path(output).exists()
    ran = dreamcache("run", job, "--json")
    assert ran.returncode == json.loads(ran.stdout)["exit_code"] == 3
    for place in (job, output):
        status = json.loads(in_process("status", place, "--json").stdout)
        assert (status["state"], status["manifest"]["counts"]["failed"]) == ("finished", 1)
        [row] = json.loads(in_process("outputs", place, "--json").stdout)
        assert (row["subject_id"], row["status"], row["code"], row["attempts"]) == (
            "a",
            "failed",
            "missing_image",
            1,
        )
    assert json.loads(in_process("outputs", output, "--status", "done", "--json").stdout) == []
    assert "dreamcache retry" in in_process("run", job).stdout  # the record stands
    retried = in_process("retry", job, "--json")
    assert retried.returncode == 3
    [row] = json.loads(in_process("outputs", output, "--json").stdout)
    assert row["attempts"] == 2
    page = in_process("gallery", output)
    assert (page.returncode, page.stdout) == (0, f"{output}/gallery/index.html\n")


def test_the_cache_and_adapters_in_json(cache: str, model: dict[str, str]) -> None:
    [entry] = json.loads(in_process("cache", "ls", cache, "--json").stdout)
    assert (entry["cache_key"], entry["base"]) == ("ab" * 32, "ef" * 8)
    shown = json.loads(in_process("cache", "show", cache, "abab", "--json").stdout)
    assert shown["places"]["up_blocks.1"] == {"shape": [4], "dtype": "float16", "num_bytes": 8}
    verified = json.loads(in_process("cache", "verify", cache, "--json").stdout)
    assert verified == {"checked": 1, "damaged": [], "unsealed": []}
    kept = json.loads(in_process("cache", "gc", cache, "--older-than-days", "0", "--json").stdout)
    assert kept["deleted"] is False and len(kept["objects"]) == 1
    [file] = Path(cache).rglob("*.parquet")
    file.write_bytes(file.read_bytes()[:-1])
    verified = in_process("cache", "verify", cache, "--json")
    assert (verified.returncode, len(json.loads(verified.stdout)["damaged"])) == (3, 1)
    assert in_process("cache", "gc", cache, "--older-than-days", "0", "--delete").returncode == 0
    assert json.loads(in_process("cache", "ls", cache, "--json").stdout) == []
    assert json.loads(in_process("adapter", "show", model["adapter"], "--json").stdout)["step"] == 7
