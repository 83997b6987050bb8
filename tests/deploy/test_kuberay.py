"""The KubeRay manifests fit the CRDs and hold the rules of an unattended, shared cluster."""

from __future__ import annotations

import ipaddress
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from jobs.spec import parse_spec
from tests.deploy.files import documents, of_kind, pinned, pods

SCHEMAS = Path(__file__).parent / "schemas"
CLUSTER = of_kind("kuberay/cluster.yaml", "RayCluster")
JOB = of_kind("kuberay/job.yaml", "RayJob")
SPEC = CLUSTER["spec"]
CONFINED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def strict(schema: Any) -> Any:
    """The schema with unknown fields refused, which the API server would drop without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and "type" in schema
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made


def broken(manifest: dict[str, Any], kind: str) -> list[str]:
    schema = json.loads((SCHEMAS / f"ray.io_v1_{kind}.openapi.json").read_text())
    errors = Draft202012Validator(strict(schema)).iter_errors(manifest)
    return [f"{error.json_path}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize(("manifest", "kind"), [(CLUSTER, "rayclusters"), (JOB, "rayjobs")])
def test_fits_the_crd(manifest: dict[str, Any], kind: str) -> None:
    assert broken(manifest, kind) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("enableInTreeAutoscalling",), True),
        (("authOptions", "mode"), "tokens"),
        (("workerGroupSpecs", 0, "minReplica"), 1),
        (("headGroupSpec", "template", "spec", "containers", 0, "livenesProbe"), {}),
    ],
)
def test_a_slip_does_not_fit(path: tuple[Any, ...], value: Any) -> None:
    wrong = json.loads(json.dumps(CLUSTER))
    place = wrong["spec"]
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert len(broken(wrong, "rayclusters")) == 1


def test_job_and_cluster_are_the_same_cluster() -> None:
    assert JOB["spec"]["rayClusterSpec"] == SPEC
    assert SPEC["rayVersion"] == pinned("ray")


def test_token_comes_from_a_secret() -> None:
    assert SPEC["authOptions"] == {"mode": "token", "secretName": "dreamcache-ray-token"}
    kinds = {
        document["kind"]
        for name in ("access", "cluster", "job")
        for document in documents(f"kuberay/{name}.yaml")
    }
    assert "Secret" not in kinds


def test_gpu_group_grows_from_nothing_on_spot() -> None:
    (gpu,) = [group for group in SPEC["workerGroupSpecs"] if group["groupName"] == "gpu"]
    pod = gpu["template"]["spec"]
    assert SPEC["enableInTreeAutoscaling"] is True
    assert gpu["minReplicas"] == 0 < gpu["maxReplicas"]
    assert gpu["idleTimeoutSeconds"] > 0
    assert pod["nodeSelector"] == {"eks.amazonaws.com/capacityType": "SPOT"}
    assert {toleration["key"] for toleration in pod["tolerations"]} == {"nvidia.com/gpu", "spot"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


@pytest.mark.parametrize(("group", "pod"), list(pods(SPEC)))
def test_every_pod_is_confined_bounded_and_probed(group: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["serviceAccountName"].startswith("dreamcache-")
    for container in pod["containers"]:
        assert container["securityContext"] == CONFINED
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert writable >= {"/tmp", "/home/ray"}, "its root file system is read-only"
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        places = [volumes[mount["name"]].get("emptyDir") for mount in container["volumeMounts"]]
        sizes = [int(place["sizeLimit"].removesuffix("Gi")) for place in places if place is not None]
        limit = container["resources"]["limits"]["ephemeral-storage"]
        assert sum(sizes) < int(limit.removesuffix("Gi")), "what all its volumes may take, with logs beside"
        assert container["resources"]["requests"] == container["resources"]["limits"]
        assert container["livenessProbe"] and container["readinessProbe"]
        assert "metrics" in {port["name"] for port in container["ports"]}
        assert re.fullmatch(r"REGISTRY/dreamcache@sha256:(CPU|CUDA)_DIGEST", container["image"])


def test_autoscaler_and_submitter_are_confined_too() -> None:
    assert SPEC["autoscalerOptions"]["securityContext"] == CONFINED
    (submitter,) = JOB["spec"]["submitterPodTemplate"]["spec"]["containers"]
    assert submitter["securityContext"] == CONFINED
    for container in (SPEC["autoscalerOptions"], submitter):
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/home/ray"}
        assert "ephemeral-storage" in container["resources"]["limits"]


def test_workers_drain_within_the_notice_of_a_reclaim() -> None:
    for group, pod in pods(SPEC):
        if group == "head":
            continue
        (container,) = pod["containers"]
        drain = {entry["name"]: entry["value"] for entry in container["env"]}
        seconds = int(drain["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"])
        assert seconds < pod["terminationGracePeriodSeconds"] < 120  # AWS gives two minutes
        assert "kill -TERM" in container["lifecycle"]["preStop"]["exec"]["command"][-1]
        assert pod["automountServiceAccountToken"] is False


def test_the_jobs_spec_is_a_job() -> None:
    data = of_kind("kuberay/job.yaml", "ConfigMap")["data"]
    spec = parse_spec(yaml.safe_load(data["job.yaml"]))
    gpus = spec.workers.generators.count * spec.workers.generators.gpus
    (group,) = [group for group in SPEC["workerGroupSpecs"] if group["groupName"] == "gpu"]
    assert gpus <= group["maxReplicas"]
    assert "/etc/dreamcache/run.sh" in JOB["spec"]["entrypoint"]
    assert data["run.sh"].startswith("dreamcache run /etc/dreamcache/job.yaml")
    assert {volume["name"] for volume in pods_of_head()["volumes"]} == {"job", "ray-temp", "home"}


def pods_of_head() -> dict[str, Any]:
    return dict(pods(SPEC))["head"]


def policies() -> dict[str, dict[str, Any]]:
    found = [each for each in documents("kuberay/access.yaml") if each["kind"] == "NetworkPolicy"]
    return {each["metadata"]["name"]: each["spec"] for each in found}


def test_access_closes_the_ports_and_names_the_roles() -> None:
    policy = policies()["dreamcache"]
    assert policy["podSelector"] == {} and policy["policyTypes"] == ["Ingress", "Egress"]
    assert all(rule["from"] for rule in policy["ingress"])  # an empty one would let everybody in
    accounts = [each for each in documents("kuberay/access.yaml") if each["kind"] == "ServiceAccount"]
    in_pods = {pod["serviceAccountName"] for _, pod in pods(SPEC)}
    assert {each["metadata"]["name"] for each in accounts} == {*in_pods, "dreamcache-prune"}
    roles = [each["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] for each in accounts]
    assert len(set(roles)) == len(accounts)


def test_pods_reach_each_other_names_and_https_outside_only() -> None:
    """Neither the metadata service nor a machine of a private network; the head also Kubernetes' API."""
    egress = policies()["dreamcache"]["egress"]
    assert all(rule["to"] for rule in egress)  # an empty one would let everything out
    (outside,) = [rule for rule in egress if "ipBlock" in rule["to"][0]]
    assert outside["ports"] == [{"port": 443, "protocol": "TCP"}]
    closed = [ipaddress.ip_network(block) for block in outside["to"][0]["ipBlock"]["except"]]
    for host in ("169.254.169.254", "10.1.2.3", "172.20.0.1", "192.168.1.1", "100.64.0.1"):
        assert any(ipaddress.ip_address(host) in block for block in closed), host
    head = policies()["dreamcache-autoscaler"]
    assert head["podSelector"] == {"matchLabels": {"ray.io/node-type": "head"}}
    assert [rule["to"] for rule in head["egress"]] == [[{"ipBlock": {"cidr": "API_SERVER_CIDR"}}]]
