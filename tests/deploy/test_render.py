"""`dreamcache deploy render`: manifests fit their schemas, hold the job's pools, and keep the rules of the templates.

No API server was asked: the schemas are Kubernetes' and KubeRay's own, admission by Kueue was not tried.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from jsonschema import Draft7Validator

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from jobs.deploy import ec2, kuberay
from jobs.deploy.kuberay import Options
from jobs.deploy.pools import groups_of
from jobs.spec import parse_spec
from tests.command import error_of, in_process
from tests.deploy.files import pods
from tests.deploy.test_kuberay import CONFINED, broken

VERSION = "1.33"
POOLS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "gpus": {"encoders": {"count": 2, "gpus": 0.25}, "generators": {"count": 8, "gpus": 1, "cpus": 4, "max_count": 12}},
    "mixed": {"encoders": {"count": 3, "cpus": 2}, "generators": {"count": 4, "gpus": 1, "cpus": 7}},
    "thirds": {"encoders": {"count": 5, "gpus": 0.34}, "generators": {"count": 7, "gpus": 0.5}},
    "two gpus each": {"generators": {"count": 3, "gpus": 2, "cpus": 8, "memory_bytes": 64 << 30}},
    "wide": {"generators": {"count": 4, "cpus": 16, "memory_bytes": 40 << 30, "label_selector": {"zone": "a"},
                            "resources": {"licence": 1}}},
    "many": {"encoders": {"count": 500, "cpus": 0.1}, "publishers": {"count": 400, "cpus": 0.25}},
}  # fmt: skip


def spec_of(workers: dict[str, Any] | None = None, **changes: Any) -> JobSpec:
    values = {
        "name": "Autumn_2026.v2", "catalog": "s3://shop/catalog/c.parquet", "output": "s3://shop/jobs/autumn",
        "prompts": ["a photo of a {class_name}"], "workers": workers or {},
    }  # fmt: skip
    return parse_spec({**values, **changes})


def rendered(spec: JobSpec, **options: Any) -> dict[str, dict[str, Any]]:
    """job.yaml by kind."""
    return {
        each["kind"]: each for each in kuberay.loaded(kuberay.render(spec, Options(**options))["job.yaml"])
    }


def check(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, VERSION, strict=True)


@pytest.mark.parametrize(
    ("pools", "options"),
    [
        ("gpus", {}),
        ("mixed", {"queue": "catalog", "priority": "night", "strict": True, "namespace": "shop"}),
        ("wide", {}),
    ],
)
def test_all_manifests_fit_their_schemas(pools: str, options: dict[str, Any]) -> None:
    host = {"host": "images.intern.example:8443", "networks": ["10.20.0.0/16", "fd12::/48"]}
    texts = kuberay.render(spec_of(POOLS[pools], catalog_hosts=[host]), Options(**options))
    namespace = options.get("namespace", "dreamcache")
    for text in texts.values():
        assert not re.search(r"[:-] [&*]\w", text), "no anchors"
        for manifest in kuberay.loaded(text):
            if manifest["kind"] == "RayJob":
                assert broken(manifest, "rayjobs") == []
                for _, pod in pods(manifest["spec"]["rayClusterSpec"]):
                    check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": pod})
            else:
                check(manifest)
            name = manifest["metadata"]["name" if manifest["kind"] == "Namespace" else "namespace"]
            assert name == namespace


def test_a_slip_does_not_fit() -> None:
    config = rendered(spec_of())["ConfigMap"]
    with pytest.raises(kubernetes_validate.ValidationError):
        check({**config, "dat": {}})


@pytest.mark.parametrize("workers", POOLS.values(), ids=POOLS)
def test_pods_hold_what_the_doctor_asks_for(workers: dict[str, Any]) -> None:
    declared = spec_of(workers).workers
    groups = groups_of(declared)
    assert sum(group.pods * group.cpus for group in groups) >= declared.cpus
    assert sum(group.pods * group.gpus for group in groups) >= declared.gpus
    for pool in (declared.encoders, declared.generators, declared.publishers):
        holds = [group for group in groups if (group.gpus > 0) == (pool.gpus > 0)] or groups
        assert any(group.gpus >= pool.gpus and group.cpus >= pool.cpus for group in holds)
        assert any(group.memory_gib * (1 << 30) > (pool.memory_bytes or 0) for group in holds)
    assert all(group.most >= group.pods for group in groups)


def test_sizes_of_the_example() -> None:
    gpu, cpu = groups_of(spec_of(POOLS["mixed"]).workers)
    assert (gpu.name, gpu.cpus, gpu.gpus, gpu.pods, gpu.most, gpu.memory_gib) == ("gpu", 7, 1, 4, 4, 20)
    assert (cpu.name, cpu.cpus, cpu.gpus, cpu.pods) == ("cpu", 4, 0, 3)
    (both,) = groups_of(spec_of(POOLS["gpus"]).workers)
    assert (both.gpus, both.pods, both.most) == (1, 9, 13)


def test_the_cluster_is_the_templates_but_for_its_sizes() -> None:
    manifest = rendered(spec_of(POOLS["wide"]))["RayJob"]
    cluster = manifest["spec"]["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 6)
    assert group["labels"] == {"pool": "encoders", "zone": "a"}
    assert group["rayStartParams"] == {"resources": '"{\\"licence\\": 1}"'}
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert container["resources"]["limits"] == {"cpu": "16", "memory": "44Gi", "ephemeral-storage": "90Gi"}
    assert cluster["authOptions"]["mode"] == "token"
    for _, pod in pods(cluster):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert [one["securityContext"] for one in pod["containers"]] == [CONFINED]


def test_names_hold_the_job_files_hash() -> None:
    first, other = rendered(spec_of()), rendered(spec_of(seed=1))
    config = first["ConfigMap"]
    digest = hashlib.sha256(config["data"]["job.yaml"].encode()).hexdigest()
    assert config["metadata"]["annotations"]["dreamcache/job-sha256"] == digest
    name = f"dreamcache-autumn-2026-v2-{digest[:8]}"
    assert (config["metadata"]["name"], first["RayJob"]["metadata"]["name"], config["immutable"]) == (
        name,
        name,
        True,
    )
    head = first["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    assert {"name": "job", "configMap": {"name": name}} in head["volumes"]
    assert other["ConfigMap"]["metadata"]["name"] != name
    assert parse_spec(yaml.safe_load(config["data"]["job.yaml"])) == spec_of()


def test_a_queue_admits_the_job_as_a_whole() -> None:
    plain, queued = (
        rendered(spec_of(POOLS["gpus"])),
        rendered(spec_of(POOLS["gpus"]), queue="catalog", priority="night"),
    )
    assert plain["RayJob"]["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is True
    labels, spec = queued["RayJob"]["metadata"]["labels"], queued["RayJob"]["spec"]
    assert (
        labels["kueue.x-k8s.io/queue-name"] == "catalog"
        and labels["kueue.x-k8s.io/priority-class"] == "night"
    )
    assert spec["suspend"] is True and spec["shutdownAfterJobFinishes"] is True
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 9
    assert spec["rayClusterSpec"]["enableInTreeAutoscaling"] is False


def test_exit_codes() -> None:
    """3 and 4 are an end that a new cluster would not change; --strict hands them on as they are."""
    plain, strict = rendered(spec_of()), rendered(spec_of(), strict=True)
    assert (
        "3|4) exit 0" in plain["ConfigMap"]["data"]["run.sh"] and plain["RayJob"]["spec"]["backoffLimit"] == 3
    )
    assert strict["ConfigMap"]["data"]["run.sh"] == "dreamcache run /etc/dreamcache/job.yaml\n"
    assert strict["RayJob"]["spec"]["backoffLimit"] == 0


def test_private_hosts_of_photos_are_let_out_and_no_others() -> None:
    hosts = [{"host": "images.intern.example:8443", "networks": ["10.20.0.0/16"]}, {"host": "cdn.example"}]
    policy = rendered(spec_of(catalog_hosts=hosts))["NetworkPolicy"]["spec"]
    ports = [{"port": 8443, "protocol": "TCP"}]
    assert policy["egress"] == [{"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": ports}]
    assert "NetworkPolicy" not in rendered(spec_of(catalog_hosts=[{"host": "cdn.example"}]))


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"catalog": "/data/c.csv"}, {}, "must be locations that every machine sees"),
        ({}, {"queue": "No Queue"}, "--queue No Queue: must be 1-63 of"),
        ({}, {"priority": "night"}, "needs --queue"),
        ({}, {"values": {"REGISTY": "x"}}, "did you mean 'REGISTRY'"),
        ({"workers": {"generators": {"resources": {'a"; rm': 1}}}}, {}, "must be letters, digits"),
        ({"prompts": [f"{number:0100d} " * 100 for number in range(99)]}, {}, "which a ConfigMap holds"),
        ({"workers": {"encoders": {"gpus": 1, "accelerator_type": "L4"},
                      "generators": {"gpus": 1, "accelerator_type": "H100"}}}, {}, "must agree on accelerator_type"),
    ],
)  # fmt: skip
def test_refusals(changes: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        kuberay.render(spec_of(**changes), Options(**options))


@pytest.mark.parametrize("workers", POOLS.values(), ids=POOLS)
def test_ec2_passes_rays_own_checks(workers: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    launcher = yaml.safe_load(ec2.render(spec_of(workers), {"REGION": "eu-central-1"})["cluster.yaml"])
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(launcher)] == []
    assert launcher["provider"]["region"] == "eu-central-1"
    for group in groups_of(spec_of(workers).workers):
        node = launcher["available_node_types"][group.name]
        instance = ec2.instance_for(group)
        assert node["node_config"]["InstanceType"] == instance.name
        assert instance.cpus >= group.cpus and instance.gpus >= group.gpus
        assert instance.memory_gib >= group.memory_gib
    validate_config(prepare_config(launcher))


def test_ec2_names_what_does_not_fit() -> None:
    with pytest.raises(SpecError, match=r"the largest type known, m6i\.8xlarge, has 32"):
        ec2.render(spec_of({"generators": {"cpus": 64}}), {})
    with pytest.raises(SpecError, match="accelerator_type 'TPU': must be one of"):
        ec2.render(spec_of({"generators": {"gpus": 1, "accelerator_type": "TPU"}}), {})


def test_the_command(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("name: a\ncatalog: s3://b/c.csv\noutput: s3://b/out\nprompts: [a mug]\n")
    done = in_process("deploy", "render", "kuberay", "--job", str(job), "--output", str(tmp_path / "out"),
                      "--value", "REGISTRY=registry.example/team")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"access.yaml", "job.yaml"}
    assert "registry.example/team/dreamcache@sha256:CPU_DIGEST" in (tmp_path / "out" / "job.yaml").read_text()
    assert (
        done.stderr == "note: to be filled in, by --value NAME=VALUE: ACCOUNT, API_SERVER_CIDR, CPU_DIGEST\n"
    )
    listed = json.loads(in_process("deploy", "render", "ec2", "--job", str(job), "--json").stdout)
    assert set(listed) == {"files", "placeholders"} and "AMI" in listed["placeholders"]
    assert "must be NAME=VALUE" in error_of(
        in_process("deploy", "render", "ec2", "--job", str(job), "--value", "A")
    )
