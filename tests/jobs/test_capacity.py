"""What does not fit on a cluster, in numbers."""

from __future__ import annotations

import pytest

from dreamcache.core.config.job import WorkerSpec, WorkersSpec
from jobs.cluster.capacity import Node, misfits

SMALL = Node(host="a", resources={"CPU": 4, "memory": 8e9, "accelerator_type:T4": 1, "GPU": 1})
LARGE = Node(host="b", resources={"CPU": 8, "memory": 32e9}, labels={"market-type": "spot"})


@pytest.mark.parametrize(
    ("generators", "texts"),
    [
        (WorkerSpec(), []),
        (WorkerSpec(cpus=16), ["each generator asks for 16 CPUs, the largest node has 8"]),
        (WorkerSpec(gpus=2), ["each generator asks for 2 GPUs, the largest node has 1"]),
        (WorkerSpec(memory_bytes=64_000_000_000), ["64.0 GB of memory, the largest node has 32.0 GB"]),
        (
            WorkerSpec(resources={"tpu": 1}),
            ["each generator asks for 1 of resource 'tpu', no node of 2 has any"],
        ),
        (WorkerSpec(accelerator_type="H100"), ["accelerator H100, the nodes have T4"]),
        (
            WorkerSpec(label_selector={"market-type": "on-demand"}),
            ["market-type=on-demand, the nodes have spot"],
        ),
        (WorkerSpec(label_selector={"market-type": "in(spot, other)"}), []),
        (WorkerSpec(label_selector={"market-type": "!spot"}), []),
        (WorkerSpec(label_selector={"zone": "a"}), ["no node has label zone"]),
        (
            WorkerSpec(cpus=8, gpus=1),
            ["each generator asks for 8 CPUs, 1 GPU on one node, and none of 2 nodes"],
        ),
        (
            WorkerSpec(count=4, cpus=4),
            ["16.75 CPUs in all (1 encoder of 0.5 CPUs + 4 generators of 4 CPUs + 1 publisher of 0.25 CPUs)"],
        ),
    ],
)
def test_what_does_not_fit_is_stated_in_numbers(generators: WorkerSpec, texts: list[str]) -> None:
    reasons = misfits(WorkersSpec(generators=generators), [SMALL, LARGE])
    assert len(reasons) == len(texts), reasons
    assert all(text in reason for text, reason in zip(texts, reasons, strict=True)), reasons


@pytest.mark.parametrize(
    ("encoders", "generators", "waiting"),
    [
        ((2, 0.25), (8, 1.0), "the workers ask for 8.5 GPUs in all"),
        ((4, 0.25), (7, 1.0), None),
        ((1, 0.0), (13, 0.6), "5 of 13 generators of 0.6 GPUs find none"),
        ((5, 0.34), (6, 1.0), "1 of 5 encoders of 0.34 GPUs find none"),
        ((1, 0.5), (2, 3.0), None),
        ((1, 0.5), (3, 2.0), None),
        ((1, 0.5), (4, 2.0), "asks for 8.5"),
        ((0, 0.0), (16, 0.5), None),
    ],
)
def test_shares_of_gpus_must_fit_on_gpus(
    encoders: tuple[int, float], generators: tuple[int, float], waiting: str | None
) -> None:
    nodes = [Node(host=name, resources={"CPU": 64, "GPU": 4}) for name in "ab"]
    pools = [WorkerSpec(count=max(1, count), cpus=0.1, gpus=gpus) for count, gpus in (encoders, generators)]
    reasons = misfits(WorkersSpec(encoders=pools[0], generators=pools[1]), nodes)
    assert bool(reasons) == (waiting is not None), reasons
    if waiting is not None and not waiting.startswith("asks"):
        assert waiting in reasons[0]


@pytest.mark.parametrize(
    ("publishers", "generators", "most"),
    [
        (WorkerSpec(count=4), WorkerSpec(count=8), 4),
        (WorkerSpec(count=4), WorkerSpec(count=64), 32),
        (WorkerSpec(count=4), WorkerSpec(count=1, max_count=65), 33),
        (WorkerSpec(count=2, max_count=5), WorkerSpec(count=64), 5),
        (WorkerSpec(count=50), WorkerSpec(count=64), 50),
    ],
)
def test_publishers_follow_the_generators(publishers: WorkerSpec, generators: WorkerSpec, most: int) -> None:
    assert WorkersSpec(publishers=publishers, generators=generators).most_publishers == most


def test_a_cluster_without_nodes_and_one_with_a_single_node() -> None:
    assert misfits(WorkersSpec(), []) == ["the cluster has no living node yet"]
    asks = WorkersSpec(generators=WorkerSpec(gpus=1))
    assert misfits(asks, [LARGE]) == ["each generator asks for 1 GPU, the only node has none"]
