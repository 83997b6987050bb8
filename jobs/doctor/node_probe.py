"""A separate process that joins a cluster and asks every node what it has: JSON in on stdin, JSON out on stdout.

In a separate process, because a Ray that cannot be reached blocks its process without a limit, and this one can be
killed. Without an address it reports on this machine alone, and starts no Ray.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

NODE_LIMIT_S = 120.0


def main() -> None:
    """Reads the request, prints the report as the last line of stdout."""
    request = json.load(sys.stdin)
    address = request["address"]
    if address is None:
        report: dict[str, Any] = {"nodes": [look(request)]}
    elif address.startswith(("http://", "https://")):
        report = _ask_jobs_api(address)
    else:
        report = _ask_nodes(request)
    print(json.dumps(report))


def _ask_jobs_api(address: str) -> dict[str, Any]:
    from jobs.cluster.jobs_api import connect

    api = connect(address)
    capacity = [asdict(node) for node in api.nodes()]
    return {"nodes": [], "jobs": len(api.client.list_jobs()), "token": not api.is_open, "capacity": capacity}


def _ask_nodes(request: dict[str, Any]) -> dict[str, Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from dreamcache.core.errors import StorageError
    from dreamcache.storage.open_store import join, store_for
    from dreamcache.storage.probe import probing
    from jobs.cluster.capacity import ray_nodes
    from jobs.cluster.ray_cluster import join_cluster

    join_cluster(request["address"], cpus=0, gpus=0)
    capacity = [asdict(node) for node in ray_nodes()]
    if request.get("only_capacity"):
        return {"nodes": [], "capacity": capacity}
    nodes = [node for node in ray.nodes() if node["Alive"]]
    with ExitStack() as stack:
        try:
            store = store_for(request["output"])
            request["mark"] = join(stack.enter_context(probing(store, request["output"])), "mark")
            store.write(request["mark"], b"mark")
        except StorageError:
            request["mark"] = None  # the checks of storage report it
        task = ray.remote(num_cpus=0, max_retries=0)(look)
        refs = [
            task.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote({**request, "has_gpu": bool(node["Resources"].get("GPU"))})
            for node in nodes
        ]
        ray.wait(refs, num_returns=len(refs), timeout=NODE_LIMIT_S)
        reports = [_report_of(ref, node) for ref, node in zip(refs, nodes, strict=True)]
    return {
        "nodes": reports,
        "resources": ray.cluster_resources(),
        "token": _has_token(),
        "capacity": capacity,
    }


def _report_of(ref: Any, node: dict[str, Any]) -> dict[str, Any]:
    import ray

    try:
        return dict(ray.get(ref, timeout=1))
    except Exception as error:  # noqa: BLE001 - a node that cannot answer is a finding
        text = " ".join(str(error).split())[:300]
        return {"host": node["NodeManagerHostname"], "error": f"{type(error).__name__}: {text}"}


def _has_token() -> bool:
    import ray._private.authentication.authentication_token_setup as setup

    return bool(setup.get_authentication_mode() == setup.AuthenticationMode.TOKEN)


def look(request: dict[str, Any]) -> dict[str, Any]:
    """What this machine has. Runs on nodes that may not have this package, so it imports all it needs itself."""
    import platform
    import socket
    from importlib.metadata import PackageNotFoundError, version
    from pathlib import Path

    report: dict[str, Any] = {"host": socket.gethostname(), "gpus": [], "versions": {}}
    report["versions"]["python"] = platform.python_version()
    for name in ("ray", "torch", "diffusers"):
        try:
            report["versions"][name] = version(name)
        except PackageNotFoundError:
            report["versions"][name] = None
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        report["free_bytes"] = next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration, ValueError):
        report["free_bytes"] = None
    if request.get("has_gpu"):
        try:
            import torch

            for index in range(torch.cuda.device_count()):
                free, total = torch.cuda.mem_get_info(index)
                report["gpus"].append(
                    {"name": torch.cuda.get_device_name(index), "free": free, "total": total}
                )
        except Exception as error:  # noqa: BLE001 - a driver that does not fit is a finding
            report["gpu_error"] = " ".join(str(error).split())[:300]
    try:
        import dreamcache
    except ImportError:
        report["versions"]["dreamcache"] = None
        return report
    report["versions"]["dreamcache"] = dreamcache.__version__
    _look_with_ours(request, report)
    return report


def _look_with_ours(request: dict[str, Any], report: dict[str, Any]) -> None:
    """What a node that has this package knows of the job's model and storage."""
    from dreamcache.core.config.job import LoraSpec, ModelSpec
    from dreamcache.core.errors import DreamCacheError
    from dreamcache.inference.facts import describe_models
    from dreamcache.storage.open_store import store_for

    try:
        model = ModelSpec(
            base=request["base"],
            revision=request["revision"],
            adapter=request["adapter"],
            loras=tuple(LoraSpec(**lora) for lora in request.get("loras", ())),
            allow_other_base=request.get("allow_other_base", False),
            quantize=request.get("quantize", "none"),
        )
        report["model"] = list(describe_models(request["method"], model).fingerprints)
    except DreamCacheError as error:
        report["model_error"] = str(error)
    if request.get("mark"):
        try:
            report["mark"] = store_for(request["mark"]).read(request["mark"]) == b"mark"
        except (DreamCacheError, OSError) as error:
            report["mark"], report["mark_error"] = False, str(error)


if __name__ == "__main__":
    main()
