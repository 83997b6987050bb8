"""Jobs that cannot run at all: one line, exit code 2 for the job file's faults and 1 for the world's, no Ray."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.command import error_of, in_process, write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.s3_server import S3Server

NOBODY = {
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, tiny_model: dict[str, str]) -> Refused:
    """refused(exit code, extra variables, **job) -> the error's text; fails if Ray was started."""
    catalog = write_catalog(tmp_path, write_photos(tmp_path, 1))

    def run(code: int, extra: Mapping[str, str] | None = None, **changes: Any) -> str:
        values = {"catalog": catalog, "output": "output", "prompts": ["x"], "model": tiny_model}
        job = write_job(tmp_path / "job", **{**values, **changes})
        done = in_process("run", job, extra={"RAY_TMPDIR": str(tmp_path / "ray"), **(extra or {})})
        message = error_of(done)
        assert done.returncode == code, message
        assert not (tmp_path / "ray").exists()
        return message

    return run


def test_an_empty_prompt_list(refused: Refused, tmp_path: Path) -> None:
    assert "prompts: must have at least one prompt, in the job file or in" in refused(2, prompts=[])
    assert not (tmp_path / "job" / "output").exists()


def test_an_unknown_key(refused: Refused) -> None:
    message = refused(2, generation={"schedular": "euler"})
    assert message.endswith("job.yaml: unknown key 'generation.schedular' (did you mean 'scheduler'?)")


def test_an_output_folder_of_another_job(
    refused: Refused, tmp_path: Path, tiny_model: dict[str, str]
) -> None:
    """The first job's only photo is missing, so that it ends without a worker."""
    (tmp_path / "first").mkdir()
    catalog = write_catalog(tmp_path / "first", [{"subject_id": "a", "image": "none.png"}])
    output = str(tmp_path / "output")
    first = write_job(
        tmp_path / "first", name="first", catalog=catalog, output=output, prompts=["x"], model=tiny_model
    )
    assert in_process("run", first).returncode == 3
    before = {path: path.stat().st_mtime_ns for path in Path(output).rglob("*")}
    message = refused(2, name="second", output=output)
    assert (
        f"output '{output}': belongs to job 'first', this one is 'second'; choose another folder" in message
    )
    assert {path: path.stat().st_mtime_ns for path in Path(output).rglob("*")} == before


def test_an_output_folder_with_files_of_others(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    message = refused(2, output=str(tmp_path / "mine"))
    assert "must be empty or this job's, but holds '" in message
    assert "thesis.txt' and no job.yaml; choose another folder" in message
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_the_job_files_own_folder_as_output(refused: Refused, tmp_path: Path) -> None:
    assert "holds a job.yaml that no run wrote; choose another folder" in refused(2, output=".")
    assert (tmp_path / "job" / "job.yaml").read_text().startswith("catalog: ")


@pytest.mark.parametrize("place", ["output", "catalog", "cache"])
def test_no_credentials_for_s3(refused: Refused, place: str) -> None:
    message = refused(1, NOBODY, **{place: "s3://bucket/place.csv"})
    assert "s3://bucket/place.csv" in message
    assert "AWS credentials are needed" in message
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


@pytest.mark.parametrize("place", ["output", "catalog", "cache"])
def test_no_such_bucket(refused: Refused, s3_server: S3Server, place: str) -> None:
    message = refused(1, s3_server.environment(), **{place: "s3://no-such-bucket/place.csv"})
    assert "bucket 'no-such-bucket' must exist" in message
    assert "create it, or correct the name or the endpoint" in message


@pytest.mark.parametrize("place", ["output", "cache"])
def test_a_read_only_place(refused: Refused, place: str) -> None:
    """Nobody may make a folder in /sys, root included."""
    message = refused(1, **{place: "/sys/dreamcache"})
    assert message.startswith("/sys/dreamcache")
    assert "cannot write: a writable folder is needed" in message
    assert message.endswith("change its rights or choose another")
