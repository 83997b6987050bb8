"""Two threads on one pipeline, and on two pipelines that share a base, generate what each does alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline
from tests.end_to_end.photos import picture

ROUNDS = 3


def work(pipe: DreamCachePipeline, number: int) -> Callable[[], list[np.ndarray]]:
    """Encodes a photo and generates with it, several times."""

    def run() -> list[np.ndarray]:
        images = []
        for step in range(ROUNDS):
            subject = pipe.encode_reference(picture(10 * number + step % 2), class_name="mug")
            generator = torch.Generator().manual_seed(step)
            prompts = ["a mug", f"a dog {number}"][: 1 + number]
            latents = pipe(
                prompts,
                subject,
                image_scale=2.0,
                generator=generator,
                num_inference_steps=2,
                output_type="latent",
            ).images
            images += [latents.numpy(), *(subject.maps[place].numpy() for place in pipe.places)]
        return images

    return run


def at_once(tasks: list[Callable[[], list[np.ndarray]]]) -> list[list[np.ndarray]]:
    barrier = Barrier(len(tasks))

    def started_together(task: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
        torch.set_num_threads(1)
        barrier.wait()
        return task()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(started_together, tasks))


@pytest.mark.slow
def test_threads_get_the_pixels_of_solo_runs(epsilon_pipe: DreamCachePipeline) -> None:
    assert epsilon_pipe.adapter is not None
    twin = DreamCachePipeline(
        epsilon_pipe.base, epsilon_pipe.info, epsilon_pipe.adapter, epsilon_pipe.adapter_info
    )
    for pipes in ([epsilon_pipe, epsilon_pipe], [epsilon_pipe, twin]):
        tasks = [work(pipe, number) for number, pipe in enumerate(pipes)]
        solo = [task() for task in tasks]
        for wanted, images in zip(solo, at_once(tasks), strict=True):
            assert all(np.array_equal(one, other) for one, other in zip(wanted, images, strict=True))
        assert not np.array_equal(solo[0][0], solo[1][0][:1])
