"""Alerts and dashboard in the real server: rules checked by promtool, a running job scraped by Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import write_job
from tests.deploy.files import as_json
from tests.end_to_end.photos import write_catalog, write_photos
from tests.end_to_end.processes import running
from tests.ray_head import RayHead
from tests.s3_server import free_ports

METRICS = Path(__file__).parents[2] / "deploy" / "metrics"
SCRAPE_S = 2


@pytest.fixture(scope="module", autouse=True)
def binaries() -> None:
    """In CI a missing server is a failure: .ci/run installs it."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        assert not os.environ.get("DREAMCACHE_CI"), "prometheus is not installed: apt-get install prometheus"
        pytest.skip("prometheus is not installed")


def promtool(*args: str) -> None:
    done = subprocess.run(
        ["promtool", *args], capture_output=True, text=True, cwd=METRICS, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_configuration_are_valid_and_the_alerts_fire_when_they_should() -> None:
    promtool("check", "rules", "alerts.yml")
    promtool("check", "config", "prometheus.yml")
    promtool("test", "rules", "alerts_test.yml")


class Prometheus:
    """A server with the shipped rules, scraping the nodes that Ray lists in this folder."""

    def __init__(self, folder: Path, discovery: Path) -> None:
        self.port = free_ports(1)[0]
        shutil.copy(METRICS / "alerts.yml", folder / "alerts.yml")
        text = (METRICS / "prometheus.yml").read_text()
        text = text.replace("/tmp/ray/prom_metrics_service_discovery.json", str(discovery))
        (folder / "prometheus.yml").write_text(re.sub(r"interval: 15s", f"interval: {SCRAPE_S}s", text))
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        options.append(f"--web.listen-address=127.0.0.1:{self.port}")
        self.log = (folder / "prometheus.log").open("wb")
        self.process = subprocess.Popen(["prometheus", *options], stdout=self.log, stderr=self.log)

    def get(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query: str) -> list[Any]:
        return list(self.get("query", query=query)["result"])

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)
        self.log.close()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHead]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with RayHead(env=env, cpus=4, token=False) as started:
        yield started


def wait_until(reached: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if value := reached():
                return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)


def panel_queries() -> list[str]:
    """Of every panel, with the variables that Grafana fills in."""
    expressions = [
        t["expr"] for panel in as_json("metrics/dashboard.json")["panels"] for t in panel["targets"]
    ]
    return [e.replace("$job", ".*").replace("$__rate_interval", "5m") for e in expressions]


def check_job(server: Prometheus, output: str) -> None:
    """Gauges in every scrape, planning failures by reason, alerts that are evaluated without an error."""
    left = "ray_dreamcache_items_left"
    [gauge] = server.values(left)
    assert gauge["metric"]["output"] == output
    # In every scrape since it was seen first, not now and then.
    [samples] = server.get("query", query=f"{left}[30s]")["result"]
    assert len(samples["values"]) >= 10, samples
    planning = 'ray_dreamcache_images_total{worker="driver"}'
    [failed] = server.values(planning)
    assert (failed["metric"]["code"], failed["value"][1]) == ("missing_image", "2")
    alerts = {alert["labels"]["alertname"] for alert in server.get("alerts")["alerts"]}
    assert "DreamCachePlanningFailures" in alerts
    states = [rule["health"] for group in server.get("rules")["groups"] for rule in group["rules"]]
    assert states and set(states) == {"ok"}


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_panel_has_data_while_a_job_runs(head: RayHead, tmp_path: Path) -> None:
    rows = [*write_photos(tmp_path, 12), {"subject_id": "bad", "image": "none.png", "class_name": "mug"}]
    job = write_job(
        tmp_path,
        catalog=write_catalog(tmp_path, rows),
        output=str(tmp_path / "autumn"),
        prompts=["a {class_name} on sand", "a {class_name} in snow"],
        model={"base": "mini"},
        workers={"batch_size": 2},
        generation={"num_inference_steps": 30},
        limits={"max_hours": 10},
    )
    discovery = wait_until(
        lambda: next((head.folder / "ray").rglob("prom_metrics_service_discovery.json"), None),
        60,
        "discovery",
    )
    server = Prometheus(tmp_path, discovery)
    try:
        extra = {**head.access(), "RAY_metrics_report_interval_ms": "2000"}
        with running("run", job, "--address", head.gcs, extra=extra, log=tmp_path / "log") as command:
            left = "ray_dreamcache_items_left"
            wait_until(lambda: server.values(left), 200, "items left")
            wait_until(lambda: len(list((tmp_path / "autumn" / "images").rglob("*.png"))) >= 8, 300, "images")
            wait_until(lambda: all(map(server.values, panel_queries())), 120, str(
                [query for query in panel_queries() if not server.values(query)]
            ))  # fmt: skip
            check_job(server, str(tmp_path / "autumn"))
            command.process.terminate()
            command.process.wait(timeout=120)
    finally:
        server.close()
