"""A job over real photos: the DreamBench subjects, where the shared folder has them, on the embedded model and S3."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import s3fs

from tests.end_to_end.kills import kill_and_run_again
from tests.end_to_end.s3_job import S3Job, upload_job
from tests.s3_server import S3Server

DREAMBENCH = Path(__file__).parents[3] / "shared/dreambench"
PROMPTS = [
    "a {class_name} in the snow",
    "a {class_name} on top of a wooden floor",
]
NUM_SUBJECTS = 24

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.turns(unit="module"),
    pytest.mark.timeout(2400),
    pytest.mark.skipif(not DREAMBENCH.is_dir(), reason=f"no DreamBench photos at {DREAMBENCH}"),
]


@pytest.fixture
def kept() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def job(s3_server: S3Server, tmp_path: Path) -> S3Job:
    text = (DREAMBENCH / "prompts_and_classes.txt").read_text().split("Prompts")[0]
    classes = dict(row for row in csv.reader(io.StringIO(text)) if len(row) == 2)
    rows = []
    for folder in sorted(path for path in DREAMBENCH.iterdir() if path.is_dir()):
        name = f"{folder.name}.jpg"
        (tmp_path / name).write_bytes((folder / "00.jpg").read_bytes())
        rows.append({"subject_id": folder.name, "class_name": classes[folder.name], "image": name})
    assert len(rows) == NUM_SUBJECTS
    return upload_job(
        s3_server,
        tmp_path,
        f"{s3_server.make_bucket('dreambench')}/{tmp_path.name}",
        rows,
        prompts=PROMPTS,
        model={"base": "mini"},
        generation={"num_inference_steps": 10, "text_scale": 3.0, "image_scale": 2.0},
        workers={"batch_size": 4},
    )


def test_dreambench_job_killed_three_times(
    job: S3Job, s3_server: S3Server, tmp_path: Path, kept: ExitStack
) -> None:
    num_items = NUM_SUBJECTS * len(PROMPTS)
    kill_and_run_again(job, num_items, s3_server, tmp_path, kept)
    with s3_server.use():
        place = f"{job.output}/manifest.parquet".removeprefix("s3://")
        with s3fs.S3FileSystem(skip_instance_cache=True).open(place) as file:
            through_s3fs = pq.read_table(file)
    assert through_s3fs.equals(job.manifest())  # which boto3 fetched and pyarrow read
    assert through_s3fs.num_rows == num_items
