"""The job that all scenarios disturb: some forty tiny items on the S3 server, made by a cluster's workers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from tests.chaos.cluster import Cluster
from tests.chaos.end_state import Images
from tests.chaos.faulty_proxy import FaultyProxy
from tests.end_to_end.photos import write_photos
from tests.end_to_end.processes import Running, running
from tests.end_to_end.s3_job import S3Job, upload_job
from tests.s3_server import S3Server

SUBJECTS = 20
PROMPTS = ["a {class_name} on sand", "a {class_name} in snow"]
ITEMS = SUBJECTS * len(PROMPTS)
SEED = int(os.environ.get("CHAOS_SEED", "20260612"))
KILLS = 5
WORKERS = {
    "batch_size": 2,
    "encoders": {"cpus": 0.5},
    "generators": {
        "cpus": 1
    },  # one: while it is away, nothing is committed, and the next moment is not missed
    "publishers": {"count": 2, "cpus": 0.25},
}
ENCODER, GENERATOR = "EncodeWorker", "GenerateWorker"


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Where the job runs and what it needs. Drivers and workers reach the storage through the proxy, tests do not."""

    server: S3Server
    proxy: FaultyProxy
    cluster: Cluster
    model: dict[str, str]
    folder: Path

    def job(self, name: str, *, rows: list[dict[str, str]] | None = None, **changes: Any) -> S3Job:
        """The job with an output, and unless `cache` is given a cache, of its own.

        rows: of another catalog; their photos lie in `folder / name`. Of the same name once more: the job is changed.
        """
        local = self.folder / name
        local.mkdir(exist_ok=True)
        values = {
            "model": self.model,
            "prompts": PROMPTS,
            "workers": WORKERS,
            "generation": {"num_inference_steps": 4, "text_scale": 3.0, "image_scale": 2.0},
            **changes,
        }
        place = f"{self.server.make_bucket('chaos')}/{name}"
        return upload_job(self.server, local, place, rows or write_photos(local, SUBJECTS), **values)

    def running(self, job: S3Job, *args: str) -> AbstractContextManager[Running]:
        """`dreamcache run` on the cluster, from a process of the head's machine."""
        arguments = ("run", job.path, "--address", self.cluster.address, "--no-gallery", "--json", *args)
        log = Path(job.path).with_name(f"log-{len(list(Path(job.path).parent.glob('log-*')))}")
        return running(*arguments, extra=self.environment(), log=log)

    def run(self, job: S3Job, *args: str, code: int = 0) -> dict[str, Any]:
        """The command to its end; its answer."""
        with self.running(job, *args) as command:
            return self.end(command, code)

    def end(self, command: Running, code: int = 0, *, seconds: float = 420) -> dict[str, Any]:
        """Waits for the command; its answer."""
        assert command.process.wait(timeout=seconds) == code, command.log.read_text()
        said = command.log.read_text()
        answer: dict[str, Any]
        answer, _ = json.JSONDecoder().raw_decode(
            said, said.index('{\n "output"')
        )  # Ray talks before and after
        return answer

    def environment(self) -> dict[str, str]:
        return {**self.proxy.environment(), "RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": ""}


def random_of(name: str) -> Random:
    """A scenario's own source of chance."""
    print(f"{name}: CHAOS_SEED={SEED}")
    return Random(f"{SEED} {name}")


def images(job: S3Job) -> int:
    """How many are committed."""
    return len(job.objects("images/"))


def features(job: S3Job) -> int:
    """How many references its own cache has; without CACHEDIR.TAG."""
    bucket, _, prefix = f"{job.folder}/cache/".removeprefix("s3://").partition("/")
    found = job.client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return sum(entry["Key"].endswith(".parquet") for entry in found)


def at_moments(
    job: S3Job,
    command: Running,
    moments: Sequence[int],
    act: Callable[[], object],
    *,
    count: Callable[[S3Job], int] = images,
    total: int = ITEMS,
) -> list[Images]:
    """Acts once so many are there, one more than at the last act at least; the images that were there then."""
    committed: list[Images] = []
    before = -1
    for moment in moments:
        enough = max(moment, before + 1)
        reached = command.wait_until(lambda enough=enough: count(job) >= enough, every=0.1)
        assert reached, command.log.read_text()
        before = count(job)
        assert before < total, "too late to show anything"
        committed.append(job.objects("images/"))
        act()
    return committed
