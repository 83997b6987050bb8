"""The dashboard asks for what the code exports, and telemetry outside Ray does nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tests.deploy.files import as_json, documents, of_kind
from workers.telemetry import METRICS, Telemetry

EXPORTED = {name: name_of for name_of, metric in METRICS.items() for name in metric.exported(name_of)}
DASHBOARD = as_json("metrics/dashboard.json")


def queries() -> list[str]:
    found = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return found + [variable["query"]["query"] for variable in DASHBOARD["templating"]["list"][1:]]


def test_dashboard_names_only_metrics_that_we_export_and_all_of_them() -> None:
    asked = {name for query in queries() for name in re.findall(r"ray_\w+", query)}
    assert asked <= set(EXPORTED)
    assert {EXPORTED[name] for name in asked} == set(METRICS)


def test_dashboard_filters_by_labels_that_the_metrics_have() -> None:
    for query in queries():
        for name, labels in re.findall(r"(ray_\w+)\{([^}]*)\}", query):
            known = {"job_name", "output", "worker", *METRICS[EXPORTED[name]].tags}
            assert set(re.findall(r"(\w+)[!=]~?", labels)) <= known


def test_panels_do_not_overlap() -> None:
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)) and max(x for x, _ in cells) < 24


def test_podmonitor_finds_the_pods_port() -> None:
    (monitor,) = documents("metrics/podmonitor.yaml")
    cluster = of_kind("kuberay/cluster.yaml", "RayCluster")["spec"]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        template = group["template"]
        assert wanted.items() <= template["metadata"]["labels"].items()
        ports = {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports


def test_telemetry_outside_ray_does_nothing_and_imports_nothing() -> None:
    program = (
        "import sys, json; from workers.telemetry import Telemetry\n"
        "t = Telemetry('s3://bucket/jobs/one', 'driver')\n"
        "t.warmed(); t.remaining(3); t.oom_halving(); t.features('cache', 0.1)\n"
        "t.published([]); t.generated([])\n"
        "print(json.dumps([name for name in ('ray', 'torch') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout) == []


def test_a_job_is_named_by_its_output() -> None:
    assert Telemetry("s3://bucket/jobs/autumn/", "driver")._tags["job_name"] == "autumn"
