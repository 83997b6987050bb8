"""Starting torch inside a worker: device and threads are chosen here, never on the driver. Knows Ray and no models."""

from __future__ import annotations


def start_torch(num_threads: int) -> str:
    """Sets the threads of this process for its whole life, and returns its device: "cuda" or "cpu"."""
    import ray
    import torch

    from dreamcache.inference.session import silence_libraries

    torch.set_num_threads(num_threads)
    silence_libraries()
    # Ray leaves GPUs visible to workers that asked for none; only an assigned one is ours.
    return "cuda" if ray.get_runtime_context().get_accelerator_ids().get("GPU") else "cpu"
