"""A job's cluster on EC2 by Ray's launcher, its machines chosen from the job's pools.

    JobSpec + values --render--> cluster.yaml for `ray up`

Knows some instance types and the template's form; asks no cloud.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError, did_you_mean
from jobs.deploy.kuberay import check_locations
from jobs.deploy.manifest import dump, filled, template
from jobs.deploy.pools import PodGroup, groups_of

DEFAULT_GPU = "L4"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """An instance type, as EC2 lists it."""

    name: str
    cpus: int
    memory_gib: int
    gpus: int = 0


def _sizes(family: str, gpu_rows: str) -> tuple[Instance, ...]:
    """From "xlarge 4 16 1; ..."."""
    rows = (row.split() for row in gpu_rows.split(";"))
    return tuple(
        Instance(name=f"{family}.{size}", cpus=int(cpus), memory_gib=int(memory), gpus=int(gpus))
        for size, cpus, memory, gpus in rows
    )


CPU_INSTANCES = _sizes("m6i", "large 2 8 0; xlarge 4 16 0; 2xlarge 8 32 0; 4xlarge 16 64 0; 8xlarge 32 128 0")
GPU_INSTANCES = {
    "L4": _sizes("g6", "xlarge 4 16 1; 2xlarge 8 32 1; 4xlarge 16 64 1; 8xlarge 32 128 1; 12xlarge 48 192 4; "
                       "48xlarge 192 768 8"),
    "A10G": _sizes("g5", "xlarge 4 16 1; 2xlarge 8 32 1; 4xlarge 16 64 1; 8xlarge 32 128 1; 12xlarge 48 192 4; "
                         "48xlarge 192 768 8"),
    "L40S": _sizes("g6e", "xlarge 4 32 1; 2xlarge 8 64 1; 4xlarge 16 128 1; 8xlarge 32 256 1; 12xlarge 48 384 4; "
                          "48xlarge 192 1536 8"),
    "A100": _sizes("p4d", "24xlarge 96 1152 8"),
    "H100": _sizes("p5", "4xlarge 16 256 1; 48xlarge 192 2048 8"),
}  # fmt: skip
"""By Ray's names of accelerators, smallest first."""


def render(spec: JobSpec, values: Mapping[str, str]) -> dict[str, str]:
    """{file name: text}: cluster.yaml. Raises SpecError for what cannot run there."""
    check_locations(spec)
    (cluster,) = template("ec2/cluster.yaml")
    types, prototype = cluster["available_node_types"], cluster["available_node_types"].pop("gpu")
    machines = 0
    for group in groups_of(spec.workers):
        instance = instance_for(group)
        per_instance = _pods_in(group, instance)
        count = -(-group.most // per_instance)
        node = deepcopy(prototype)
        node |= {"min_workers": 0, "max_workers": count, "labels": dict(group.labels)}
        node["resources"] = {name: amount * per_instance for name, amount in group.resources.items()}
        node["node_config"]["InstanceType"] = instance.name
        if not group.gpus:
            node["docker"] = {"worker_image": cluster["docker"]["head_image"]}
        types[group.name] = node
        machines += count
    cluster["max_workers"] = machines
    head = (
        f"By 'dreamcache deploy render ec2' for job '{spec.name}': 'ray up', then 'dreamcache submit'.\n"
        "The head's policy (deploy/aws/launcher-policy.json) must name these instance types."
    )
    return {"cluster.yaml": dump([filled(cluster, values)], head)}


def instance_for(group: PodGroup) -> Instance:
    """The smallest type that holds a pod of the group. Raises SpecError where none does."""
    kinds: Mapping[str, tuple[Instance, ...]] = {"none": CPU_INSTANCES}
    accelerator = "none"
    if group.gpus:
        kinds, accelerator = GPU_INSTANCES, group.accelerator or DEFAULT_GPU
    if accelerator not in kinds:
        raise SpecError(
            f"workers: accelerator_type '{accelerator}': must be one of {', '.join(kinds)} on EC2"
            f"{did_you_mean(accelerator, kinds)}"
        )
    for instance in kinds[accelerator]:
        if _pods_in(group, instance):
            return instance
    largest = kinds[accelerator][-1]
    raise SpecError(
        f"workers: a machine must hold {group.cpus} CPUs, {group.gpus} GPUs and {group.memory_gib} GiB, the "
        f"largest type known, {largest.name}, has {largest.cpus}, {largest.gpus} and {largest.memory_gib}; "
        "ask for less a worker"
    )


def _pods_in(group: PodGroup, instance: Instance) -> int:
    fits = [instance.cpus // group.cpus, instance.memory_gib // group.memory_gib]
    if group.gpus:
        fits.append(instance.gpus // group.gpus)
    return min(fits)
