"""IAM, bucket and launcher files: they parse, ask for little, and Ray takes the launcher's."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator

from tests.deploy.files import TEMPLATES, as_json, documents

BUCKET_ACTIONS = {
    "s3:GetObject",
    "s3:PutObject",
    "s3:DeleteObject",
    "s3:AbortMultipartUpload",
    "s3:ListBucket",
}
PREFIXES = {"catalog", "models", "jobs", "features"}


def statements(name: str) -> list[dict[str, Any]]:
    return list(as_json(name)["Statement"])


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


ROLES = ("head", "worker", "prune")


def allowed(role: str, action: str) -> list[str]:
    """Resources on which a role may do this."""
    return [
        resource
        for statement in statements(f"aws/{role}-policy.json")
        if statement["Effect"] == "Allow" and action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


@pytest.mark.parametrize("role", ROLES)
def test_bucket_policies_are_of_least_privilege(role: str) -> None:
    for statement in statements(f"aws/{role}-policy.json"):
        if statement["Effect"] == "Allow":
            assert set(statement["Action"]) <= BUCKET_ACTIONS
            for resource in statement["Resource"]:
                path = resource.removeprefix("arn:aws:s3:::BUCKET")
                assert path != resource
                assert not path or path.split("/")[1] in PREFIXES


@pytest.mark.parametrize("role", ROLES)
def test_inputs_cannot_be_changed_and_images_not_rewritten(role: str) -> None:
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert {resource.split("/")[1] for resource in allowed(role, action)} <= {"jobs", "features"}
    denied = [each for each in statements(f"aws/{role}-policy.json") if each["Effect"] == "Deny"]
    assert denied[0]["Resource"] == ["arn:aws:s3:::BUCKET/jobs/*/images/*"]
    assert denied[0]["Condition"] == {"Null": {"s3:if-none-match": "true"}}


def test_workers_delete_nothing_and_the_head_no_image() -> None:
    assert allowed("worker", "s3:DeleteObject") == []
    (_, refusal) = [each for each in statements("aws/worker-policy.json") if each["Effect"] == "Deny"]
    assert "Condition" not in refusal and "s3:DeleteObject" in refusal["Action"]
    assert refusal["Resource"] == ["arn:aws:s3:::BUCKET/*"]
    head = allowed("head", "s3:DeleteObject")
    assert head and all(re.search(r"/(plan|ledger)/\*$|/\.probe-\*$", resource) for resource in head)
    assert allowed("prune", "s3:DeleteObject") == [
        "arn:aws:s3:::BUCKET/jobs/*",
        "arn:aws:s3:::BUCKET/features/*",
    ]


@pytest.mark.parametrize("role", ROLES)
def test_listing_is_bound_to_the_prefixes(role: str) -> None:
    policy = statements(f"aws/{role}-policy.json")
    (listing,) = [each for each in policy if "s3:ListBucket" in each["Action"]]
    assert listing["Resource"] == ["arn:aws:s3:::BUCKET"]
    ((_, condition),) = listing["Condition"].items()
    assert set(condition["s3:prefix"]) == {f"{prefix}/*" for prefix in PREFIXES}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_is_taken_by_its_own_service_account(role: str) -> None:
    (statement,) = statements(f"aws/trust-{role}.json")
    named = statement["Condition"]["StringEquals"]["OIDC_PROVIDER:sub"]
    assert named == f"system:serviceaccount:dreamcache:dreamcache-{role}"
    accounts = [each for each in documents("kuberay/access.yaml") if each["kind"] == "ServiceAccount"]
    (account,) = [each for each in accounts if each["metadata"]["name"] == f"dreamcache-{role}"]
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith(
        f":role/dreamcache-{role}"
    )


def test_the_launcher_starts_bounded_workers_only(launcher: dict[str, Any]) -> None:
    starts = [
        each
        for each in statements("aws/launcher-policy.json")
        if "ec2:RunInstances" in listed(each["Action"])
    ]
    (instances,) = [each for each in starts if listed(each["Resource"])[0].endswith(":instance/*")]
    rules = instances["Condition"]["StringEquals"]
    worker = launcher["available_node_types"]["gpu"]["node_config"]
    assert rules["ec2:InstanceType"] == [worker["InstanceType"]]
    assert rules["ec2:InstanceMarketType"] == worker["InstanceMarketOptions"]["MarketType"]
    assert rules["ec2:InstanceProfile"] == worker["IamInstanceProfile"]["Arn"]
    assert rules["aws:RequestTag/ray-cluster-name"] == launcher["cluster_name"]
    for start in starts:
        for resource in listed(start["Resource"]):
            assert start.get("Condition") or not resource.endswith("*"), resource
    (disks,) = [each for each in starts if listed(each["Resource"])[0].endswith(":volume/*")]
    most = int(disks["Condition"]["NumericLessThanEquals"]["ec2:VolumeSize"])
    assert most == worker["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]
    passed = [
        each for each in statements("aws/launcher-policy.json") if "iam:PassRole" in listed(each["Action"])
    ]
    assert [each["Resource"] for each in passed] == [["arn:aws:iam::ACCOUNT:role/dreamcache-worker"]]


def test_launcher_policy_has_a_star_for_looking_only() -> None:
    for statement in statements("aws/launcher-policy.json"):
        actions = listed(statement["Action"])
        assert not any("*" in action for action in actions)
        if "*" in listed(statement["Resource"]):
            assert all(action.startswith("ec2:Describe") for action in actions)
        if set(actions) & {"ec2:TerminateInstances", "iam:PassRole"}:
            assert statement["Condition"]


def test_lifecycle_ends_unfinished_uploads_and_expires_nothing() -> None:
    (rule,) = as_json("aws/lifecycle.json")["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert not {"Expiration", "NoncurrentVersionExpiration", "Transitions"} & set(rule)


@pytest.fixture
def launcher() -> dict[str, Any]:
    return dict(yaml.safe_load((TEMPLATES / "ec2/cluster.yaml").read_text()))


def test_launcher_fits_rays_schema(launcher: dict[str, Any]) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    assert [error.message for error in Draft7Validator(schema).iter_errors(launcher)] == []
    assert list(Draft7Validator(schema).iter_errors({**launcher, "max_worker": 1}))


def test_launcher_passes_rays_own_check(launcher: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(launcher))


def test_launcher_starts_workers_on_spot_and_wants_the_token(launcher: dict[str, Any]) -> None:
    types = launcher["available_node_types"]
    assert types["gpu"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert "-e RAY_AUTH_MODE=token" in launcher["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in launcher["file_mounts"]
    for image in ("head_image", "worker_image"):
        assert re.fullmatch(r"REGISTRY/dreamcache@sha256:(CPU|CUDA)_DIGEST", launcher["docker"][image])
    for node in types.values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert "--dashboard-host=127.0.0.1" in launcher["head_start_ray_commands"][-1]
