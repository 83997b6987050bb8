"""The machines that a job's workers need: groups of equal pods, from the pools of its job file.

    WorkersSpec --groups_of--> PodGroup(name="gpu", cpus=9, gpus=1, memory_gib=20, pods=4, most=8), PodGroup("cpu")

The numbers that the doctor compares with a cluster (`WorkersSpec.cpus`, `.gpus`) fit into the groups' pods at the
start. Knows numbers; knows no Kubernetes and no cloud.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from dreamcache.core.config.job import WorkerSpec, WorkersSpec
from dreamcache.core.errors import SpecError

GIB = 1 << 30
GPU_WORKER_GIB = 16
CPU_WORKER_GIB = 4
"""Of a worker whose `memory_bytes` is not set. With a GPU, weights of Stable Diffusion pass through it."""

NODE_GIB = 4
"""Ray's own processes, and what workers hand over in memory."""

SHARED_CPUS = 4
"""A pod of workers without GPU holds several of them, up to this many CPUs."""


MOST_SHARED = 16
LEAST_CPUS = SHARED_CPUS / MOST_SHARED
"""A worker that declares next to no CPU still takes memory: so many share a pod at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodGroup:
    """Equal pods. pods: at the start; most: with all pools at their `max_count`. labels, resources: see WorkerSpec."""

    name: str
    cpus: int
    gpus: int
    memory_gib: int
    pods: int
    most: int
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pool:
    """A pool of the job. per_pod: workers in one pod of its group."""

    name: str
    worker: WorkerSpec
    per_pod: int

    @property
    def most(self) -> int:
        return self.worker.max_count or self.worker.count


def groups_of(workers: WorkersSpec) -> tuple[PodGroup, ...]:
    """The group with GPUs, if a pool declares one, then the group without. Publishers lie in the latter, which is left
    out where they are all that it would hold: then they share the GPU pods' machines.

    Raises SpecError for pools of one group that ask for different machines.
    """
    pools = {"generators": workers.generators, "encoders": workers.encoders}
    with_gpu = {name: worker for name, worker in pools.items() if worker.gpus > 0}
    without = {name: worker for name, worker in pools.items() if worker.gpus == 0}
    publisher = replace(workers.publishers, count=workers.most_publishers, max_count=None)
    publishers = {"publishers": publisher}
    if not with_gpu:
        return (_group("cpu", {**without, **publishers}),)
    if not without:
        return (_group("gpu", with_gpu, guests=publisher),)
    return _group("gpu", with_gpu), _group("cpu", {**without, **publishers})


def _group(name: str, workers: Mapping[str, WorkerSpec], guests: WorkerSpec | None = None) -> PodGroup:
    """guests: publishers, whose CPUs are spread over the group's pods."""
    gpus = max(math.ceil(worker.gpus) for worker in workers.values())
    pools = [
        _Pool(name=name, worker=worker, per_pod=_per_pod(worker, gpus)) for name, worker in workers.items()
    ]
    # Each pool in pods of its own: whatever Ray places where, there is room.
    pods = sum(math.ceil(pool.worker.count / pool.per_pod) for pool in pools)
    most = sum(math.ceil(pool.most / pool.per_pod) for pool in pools)
    cpus = max(pool.per_pod * pool.worker.cpus for pool in pools)
    if guests is not None:
        cpus += max(guests.cpus, guests.count * guests.cpus / pods)
    memory = max(pool.per_pod * _gib(pool.worker) for pool in pools)
    return PodGroup(
        name=name,
        cpus=max(1, math.ceil(cpus)),
        gpus=gpus,
        memory_gib=math.ceil(memory + NODE_GIB),
        pods=pods,
        most=max(pods, most),
        accelerator=_one("accelerator_type", (pool.worker.accelerator_type for pool in pools)),
        labels=_joined("label_selector", (pool.worker.label_selector for pool in pools)),
        resources=_most_of(pools),
    )


def _per_pod(worker: WorkerSpec, gpus: int) -> int:
    if worker.gpus > 0:
        return (
            max(1, math.floor(gpus / worker.gpus))
            if worker.gpus < 1
            else max(1, gpus // math.ceil(worker.gpus))
        )
    return max(1, math.floor(SHARED_CPUS / worker.cpus)) if worker.cpus >= LEAST_CPUS else MOST_SHARED


def _gib(worker: WorkerSpec) -> float:
    if worker.memory_bytes:
        return worker.memory_bytes / GIB
    return (
        GPU_WORKER_GIB * min(1.0, worker.gpus) if worker.gpus > 0 else CPU_WORKER_GIB * min(1.0, worker.cpus)
    )


def _one(key: str, values: Iterable[str | None]) -> str | None:
    names = sorted({value for value in values if value})
    if len(names) > 1:
        raise SpecError(
            f"workers: pools of one kind of machine must agree on {key}, got {' and '.join(names)}; choose one"
        )
    return names[0] if names else None


def _joined(key: str, selectors: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Values that are no plain equality ("!spot", "in(a,b)") are for Ray to judge, and label no pod."""
    joined: dict[str, str] = {}
    for selector in selectors:
        for name, value in selector.items():
            if value.startswith("!") or "(" in value:
                continue
            if joined.setdefault(name, value) != value:
                raise SpecError(
                    f"workers: pools of one kind of machine must agree on {key} '{name}', got '{joined[name]}' and "
                    f"'{value}'; choose one"
                )
    return joined


def _most_of(pools: Iterable[_Pool]) -> dict[str, float]:
    most: dict[str, float] = {}
    for pool in pools:
        for name, amount in pool.worker.resources.items():
            most[name] = max(most.get(name, 0), amount * pool.per_pod)
    return most
