"""IAM, bucket and launcher files: they parse, ask for little, and Ray takes the launcher's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import Draft7Validator

from tests.deploy.files import DEPLOY, as_json, of_kind

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


def test_bucket_policy_is_of_least_privilege() -> None:
    for statement in statements("aws/iam-policy.json"):
        assert set(statement["Action"]) <= BUCKET_ACTIONS
        for resource in statement["Resource"]:
            path = resource.removeprefix("arn:aws:s3:::BUCKET")
            assert path != resource
            assert not path or path.split("/")[1] in PREFIXES


def test_inputs_cannot_be_changed_and_images_not_rewritten() -> None:
    allowed = [each for each in statements("aws/iam-policy.json") if each["Effect"] == "Allow"]
    writable = {
        resource.split("/")[1]
        for each in allowed
        if {"s3:PutObject", "s3:DeleteObject"} & set(each["Action"])
        for resource in each["Resource"]
    }
    assert writable == {"jobs", "features"}
    (denied,) = [each for each in statements("aws/iam-policy.json") if each["Effect"] == "Deny"]
    assert denied["Resource"] == ["arn:aws:s3:::BUCKET/jobs/*/images/*"]
    assert denied["Condition"] == {"Null": {"s3:if-none-match": "true"}}


def test_listing_is_bound_to_the_prefixes() -> None:
    (listing,) = [each for each in statements("aws/iam-policy.json") if "s3:ListBucket" in each["Action"]]
    assert listing["Resource"] == ["arn:aws:s3:::BUCKET"]
    ((_, condition),) = listing["Condition"].items()
    assert set(condition["s3:prefix"]) == {f"{prefix}/*" for prefix in PREFIXES}


def test_only_our_service_accounts_may_take_the_role() -> None:
    (statement,) = statements("aws/trust-policy.json")
    job = of_kind("kuberay/cluster.yaml", "RayCluster")["spec"]
    accounts = {job["headGroupSpec"]["template"]["spec"]["serviceAccountName"]}
    accounts |= {group["template"]["spec"]["serviceAccountName"] for group in job["workerGroupSpecs"]}
    named = statement["Condition"]["StringEquals"]["OIDC_PROVIDER:sub"]
    assert set(named) == {f"system:serviceaccount:dreamcache:{account}" for account in accounts}


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
    return dict(yaml.safe_load((DEPLOY / "aws/cluster.yaml").read_text()))


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
    for node in types.values():
        assert node["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
    assert "--dashboard-host=127.0.0.1" in launcher["head_start_ray_commands"][-1]
