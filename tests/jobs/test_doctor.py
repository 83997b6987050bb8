"""doctor: a sound job passes; each problem is reported with its remedy and never hides the other checks."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import DreamCacheError
from jobs.doctor import Check, credentials, examine, model
from jobs.doctor.check import Trial, ok, run_trials
from jobs.doctor.credentials import lifetime
from tests.command import dreamcache, write_job
from tests.deaf_proxy import deaf_proxy
from tests.s3_server import S3Server
from tests.tiny import save_base, save_random_adapter

MakeSpec = Callable[..., JobSpec]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("weights")
    base = save_base(folder / "base")
    return {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}


def by_name(spec: JobSpec, address: str | None = None) -> dict[str, Check]:
    return {check.name: check for check in examine(spec, address)}


def test_a_sound_job_is_healthy_and_nothing_stays_written(
    make_spec: MakeSpec, weights: dict[str, str], tmp_path: Path
) -> None:
    spec = make_spec(model=weights)
    before = sorted(path.name for path in tmp_path.iterdir())
    found = by_name(spec)
    assert {check.state for check in found.values()} <= {"ok", "skip"}, found
    assert "an estimate" in found["memory: one micro-batch"].finding
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_scripts_read_the_report(tmp_path: Path, weights: dict[str, str]) -> None:
    (tmp_path / "catalog.csv").write_text("subject_id,image\na,none.png\n")
    job = write_job(tmp_path, catalog="catalog.csv", output="output", prompts=["x"], model=weights)
    done = dreamcache("doctor", job, "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["healthy"]) == (0, True), done.stdout
    assert set(report["checks"][0]) == {"name", "state", "finding", "remedy", "seconds"}
    broken = dreamcache("doctor", job, "--set", "output=/sys/dreamcache", "--set", "catalog=none.csv")
    assert broken.returncode == 1
    assert "fail  catalog: read: catalog '" in broken.stdout
    assert "-> change its rights or choose another" in broken.stdout
    assert "ok    model: base and adapter match" in broken.stdout


def test_storage_without_conditional_writes_is_reported(
    make_spec: MakeSpec, s3: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(output=f"{bucket}/output", cache=f"{bucket}/cache")
    with deaf_proxy(s3) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        found = by_name(spec)
    for name in ("output: conditional write", "output: compare and swap, race", "cache: conditional write"):
        assert found[name].state == "fail"
        assert "must honour conditional writes" in found[name].finding
        assert "use a store that honours If-None-Match" in found[name].remedy
    assert found["output: write, read, list, delete"].state == "ok"
    assert found["credentials: lifetime"].finding == "from 'env', without an end"
    assert s3.client().list_objects_v2(Bucket="tests", Prefix=f"{bucket.split('/')[-1]}/")["KeyCount"] == 0


def test_a_model_that_does_not_fit(make_spec: MakeSpec, weights: dict[str, str]) -> None:
    found = by_name(make_spec(model={"base": "mini", "adapter": weights["adapter"]}))
    assert found["model: base and adapter match"].state == "fail"
    assert "was trained on base" in found["model: base and adapter match"].finding
    check = found["model: base and adapter match"]
    assert "load that base" in check.finding and "allow_other_base" in check.remedy


def test_memory_that_is_not_there(make_spec: MakeSpec, weights: dict[str, str]) -> None:
    workers: dict[str, Any] = {"batch_size": 10_000}
    found = by_name(make_spec(model=weights, workers=workers))["memory: one micro-batch"]
    assert (found.state, found.remedy.startswith("lower workers.batch_size")) == ("warn", True)
    workers = {"generators": {"count": 100_000}}
    found = by_name(make_spec(model=weights, workers=workers))["memory: one micro-batch"]
    assert found.state == "fail" and "the weights alone take" in found.finding


def test_one_check_never_hides_the_others() -> None:
    def refuse() -> Any:
        raise DreamCacheError("place: must be there; make it")

    trials = [
        Trial(name="hangs", attempt=lambda: time.sleep(30) or ok(""), limit_s=0.2),
        Trial(name="refuses", attempt=refuse),
        Trial(name="raises", attempt=lambda: 1 / 0),  # type: ignore[arg-type, return-value]
        Trial(name="stands", attempt=lambda: ok("fine")),
    ]
    found = {check.name: check for check in run_trials(trials)}
    assert [check.state for check in found.values()] == ["fail", "fail", "fail", "ok"]
    assert found["hangs"].finding == "no answer within 0.2 s"
    assert (found["refuses"].finding, found["refuses"].remedy) == ("place: must be there", "make it")
    assert found["raises"].finding == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("seconds", "state", "finding"),
    [
        (3 * 3600 + 90, "ok", "good for 3 h 1 min more and not renewed"),
        (1800, "warn", "good for 29 min"),
        (-600, "fail", "ended 10 min"),
        (None, "warn", "nothing says when they end"),
    ],
)
def test_temporary_credentials(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, seconds: int | None, state: str, finding: str
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    if seconds is not None:
        ends = datetime.now(UTC) + timedelta(seconds=seconds)
        monkeypatch.setenv("AWS_CREDENTIAL_EXPIRATION", ends.isoformat())
    verdict = lifetime()
    assert (verdict.state, finding in verdict.finding) == (state, True), verdict
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert lifetime().state == "fail"


def test_a_cluster_that_is_not_there(make_spec: MakeSpec) -> None:
    found = by_name(make_spec(), "ray://127.0.0.1:1")
    assert found["cluster: reachable"].state == "fail"
    assert "do not run through Ray Client" in found["cluster: reachable"].finding
    assert found["versions: equal everywhere"].state == "skip"


def test_folders_of_segmenters_and_encoders_are_checked(make_spec: MakeSpec, tmp_path: Path) -> None:
    (tmp_path / "clip").mkdir()
    metrics = {"clip": str(tmp_path / "clip"), "dino": None, "segmenter_models": {"sam": f"{tmp_path}/sam"}}
    spec = make_spec(
        reference={"segmenter_models": {"grounding-dino": "owner/dino@1"}},
        quality={"min_text": 0.1, "metrics": metrics},
    )
    checks = {check.name: check for check in run_trials(model.trials(spec))}
    folders = checks["model: folders of segmenters and encoders"]
    assert folders.state == "fail"
    assert folders.finding == f"quality.metrics.segmenter_models.sam '{tmp_path}/sam': no such folder"
    assert "model: folders of segmenters and encoders" not in [
        trial.name for trial in model.trials(make_spec())
    ]


def test_credentials_are_checked_where_a_setting_is_in_s3(make_spec: MakeSpec) -> None:
    assert not list(credentials.trials(make_spec()))
    for changes in ({"cache": "s3://b/c"}, {"model": {"adapter": "s3://b/a"}}):
        assert len(list(credentials.trials(make_spec(**changes)))) == 1


def test_settings_that_the_method_does_not_read_are_named(
    make_spec: MakeSpec, weights: dict[str, str]
) -> None:
    spec = make_spec(method="text-only", model={"base": weights["base"]}, generation={"strength": 0.5})
    [check, *_] = run_trials(model.trials(spec))
    assert (check.state, check.finding) == ("warn", "method 'text-only' does not read generation.strength")
