"""Whether a job's workers fit on a cluster's nodes, stated in numbers before anything waits for them.

    WorkersSpec x nodes' resources -> "each generator asks for 16 CPUs, the largest node has 4"

A cluster that scales up may bring the node that is missing, so what does not fit now is reported and not refused.
Knows resources and labels as Ray states them; knows nothing of jobs' items. Never imports torch, nor Ray at import.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dreamcache.core.config.job import WorkerSpec, WorkersSpec
from jobs.formatting import format_bytes

ACCELERATOR = "accelerator_type:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One living node. resources: in all, by Ray's names: CPU, GPU, memory in bytes, custom ones."""

    host: str
    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


def misfits(workers: WorkersSpec, nodes: Sequence[Node], *, encodes: bool = True) -> list[str]:
    """What keeps workers waiting, a sentence each; empty where all have room. encodes: the method has encoders."""
    if not nodes:
        return ["the cluster has no living node yet"]
    pools = {"encoder": workers.encoders} if encodes else {}
    pools |= {"generator": workers.generators}
    publisher = WorkerSpec(cpus=workers.publishers.cpus)
    alone = [
        text for name, pool in {**pools, "publisher": publisher}.items() for text in _one(name, pool, nodes)
    ]
    return alone or _together(pools, publisher, nodes)


def ray_nodes() -> list[Node]:
    """The living nodes of the cluster that this process has joined."""
    import ray

    return [
        Node(host=node["NodeManagerHostname"], resources=node["Resources"], labels=node.get("Labels") or {})
        for node in ray.nodes()
        if node["Alive"]
    ]


def nodes_of(states: Iterable[Any]) -> list[Node]:
    """The living nodes among Ray's `NodeState`s."""
    return [
        Node(
            host=str(state.node_name),
            resources=_numbers(state.resources_total),
            labels=dict(state.labels or {}),
        )
        for state in states
        if state.state == "ALIVE"
    ]


def _one(name: str, pool: WorkerSpec, nodes: Sequence[Node]) -> list[str]:
    """Why no node has room for one worker of this pool, each reason once."""
    fits: dict[str, Callable[[Node], bool]] = {}

    def wants(text: str, fit: Callable[[Node], bool]) -> None:
        fits[text] = fit

    article = f"each {name} asks for"
    for resource, amount in _request(pool).items():
        if amount > 0:
            has = _has(resource, nodes)
            wants(
                f"{article} {_amount(resource, amount)}, {has}",
                lambda node, r=resource, a=amount: node.resources.get(r, 0) >= a,  # type: ignore[misc]
            )
    for key, rule in pool.label_selector.items():
        there = sorted({node.labels[key] for node in nodes if key in node.labels})
        wants(
            f"{article} a node with label {key}={rule}, {_listed(there, f'no node has label {key}')}",
            lambda node, k=key, r=rule: _matches(node.labels.get(k), r),  # type: ignore[misc]
        )
    missing = [text for text, fit in fits.items() if not any(fit(node) for node in nodes)]
    if missing or any(all(fit(node) for fit in fits.values()) for node in nodes):
        return missing
    wanted = ", ".join(text.partition(" asks for ")[2].partition(", ")[0] for text in fits)
    return [f"{article} {wanted} on one node, and none of {_count(nodes)} has all of it"]


def _request(pool: WorkerSpec) -> dict[str, float]:
    """One worker's resources, by Ray's names."""
    request: dict[str, float] = {"CPU": pool.cpus, "GPU": pool.gpus, "memory": pool.memory_bytes or 0}
    if pool.accelerator_type:
        request[ACCELERATOR + pool.accelerator_type] = 0.001  # Ray's own share, of one whole on such a node
    return {**request, **pool.resources}


def _together(pools: Mapping[str, WorkerSpec], publisher: WorkerSpec, nodes: Sequence[Node]) -> list[str]:
    """Resources of which all workers at their start ask for more than the cluster has."""
    texts = []
    shares = [(name, pool.count, _request(pool)) for name, pool in pools.items()]
    shares.append(("publisher", 1, _request(publisher)))
    for resource in dict.fromkeys(name for _, _, request in shares for name in request):
        if resource.startswith(ACCELERATOR):
            continue
        asked = sum(count * request.get(resource, 0) for _, count, request in shares)
        there = sum(node.resources.get(resource, 0) for node in nodes)
        if asked > there:
            each = " + ".join(
                f"{count} {name}{'s' if count > 1 else ''} of {_amount(resource, request[resource])}"
                for name, count, request in shares
                if request.get(resource)
            )
            texts.append(
                f"the workers ask for {_amount(resource, asked)} in all ({each}), the cluster of {_count(nodes)} has "
                f"{_number(resource, there)}: some of them wait"
            )
    return texts or _unplaced(pools, nodes)


def _unplaced(pools: Mapping[str, WorkerSpec], nodes: Sequence[Node]) -> list[str]:
    """Workers that get no GPU although the sum fits: a share of a GPU lies on one GPU, several GPUs on one node."""
    free = [[1.0] * int(node.resources.get("GPU", 0)) for node in nodes]
    texts = []
    # The largest shares first, each where it first fits: for shares of a few sizes nothing fits better.
    for name, pool in sorted(pools.items(), key=lambda item: -item[1].gpus):
        waiting = sum(not _place(pool.gpus, free) for _ in range(pool.count))
        if waiting:
            texts.append(
                f"{waiting} of {pool.count} {name}s of {_amount('GPU', pool.gpus)} find none: a worker's share lies on "
                f"one GPU, whole GPUs on one node, and the cluster of {_count(nodes)} has "
                f"{sum(len(gpus) for gpus in free)}; choose shares that divide 1, or fewer workers"
            )
    return texts


def _place(share: float, free: list[list[float]]) -> bool:
    """Takes a share out of what is free of each GPU, by node; False where there is no room for it."""
    whole = math.ceil(share)
    for gpus in free:
        part = share if share < 1 else 1.0
        fitting = [number for number, rest in enumerate(gpus) if rest >= part - 1e-9][:whole]
        if len(fitting) == whole:
            for number in fitting:
                gpus[number] -= part
            return True
    return False


def _has(resource: str, nodes: Sequence[Node]) -> str:
    if resource.startswith(ACCELERATOR):
        there = sorted(
            {
                n.removeprefix(ACCELERATOR)
                for node in nodes
                for n in node.resources
                if n.startswith(ACCELERATOR)
            }
        )
        return _listed(there, "no node has an accelerator")
    most = max(node.resources.get(resource, 0) for node in nodes)
    if not most:
        return f"no node of {len(nodes)} has any" if len(nodes) > 1 else "the only node has none"
    return f"the largest node has {_number(resource, most)}"


def _listed(there: Sequence[str], none: str) -> str:
    return f"the nodes have {', '.join(there[:5])}" if there else none


def _amount(resource: str, amount: float) -> str:
    if resource.startswith(ACCELERATOR):
        return f"accelerator {resource.removeprefix(ACCELERATOR)}"
    if resource == "memory":
        return f"{format_bytes(amount)} of memory"
    if resource in ("CPU", "GPU"):
        return f"{amount:g} {resource}{'' if amount == 1 else 's'}"
    return f"{amount:g} of resource '{resource}'"


def _number(resource: str, amount: float) -> str:
    return format_bytes(amount) if resource == "memory" else f"{amount:g}"


def _count(nodes: Sequence[Node]) -> str:
    return f"{len(nodes)} node{'' if len(nodes) == 1 else 's'}"


def _matches(value: str | None, rule: str) -> bool:
    """Ray's rules of a label: `x`, `!x`, `in(x, y)`, `!in(x, y)`."""
    is_not = rule.startswith("!")
    listed = re.fullmatch(r"in\((.*)\)", rule.removeprefix("!"))
    allowed = [one.strip() for one in listed[1].split(",")] if listed else [rule.removeprefix("!")]
    return (value not in allowed) if is_not else value in allowed


def _numbers(resources: Mapping[str, Any]) -> dict[str, float]:
    """Ray's state API may state bytes for people, such as "8.0 GiB"."""
    return {name: number for name, value in resources.items() if (number := _as_number(value)) is not None}


def _as_number(value: Any) -> float | None:
    units = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    if isinstance(value, int | float):
        return float(value)
    number, _, unit = str(value).partition(" ")
    try:
        return float(number) * units[unit or "B"]
    except (ValueError, KeyError):
        return None
