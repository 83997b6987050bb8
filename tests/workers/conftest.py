"""A Ray for the workers' tests, and the tiny model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.tiny import save_base, save_random_adapter


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`model:` of a job file: a base and an adapter of the real classes with random weights, 128 px."""
    folder = tmp_path_factory.mktemp("tiny")
    base = save_base(folder / "base")
    return {"base": str(base), "adapter": str(save_random_adapter(folder / "adapter", base))}


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
    yield
    ray.shutdown()
