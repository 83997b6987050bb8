"""The prompt cache: bounded by bytes, and what is new in a batch is embedded together without knowing its mates."""

from __future__ import annotations

from collections import OrderedDict
from random import Random

import torch

from dreamcache import DreamCachePipeline
from dreamcache.model.text import DEFAULT_BYTES, PromptEncoder

SD21_BYTES = 77 * 1024 * 4
"""Of an embedding in float32."""


def _encoder(pipe: DreamCachePipeline, **options: int) -> PromptEncoder:
    return PromptEncoder(pipe.base.tokenizer, pipe.base.text_encoder, **options)


def test_a_prompt_embeds_the_same_whoever_is_new_beside_it(epsilon_pipe: DreamCachePipeline) -> None:
    alone = _encoder(epsilon_pipe, rows=4)(["a mug"])
    crowd = _encoder(epsilon_pipe, rows=4)
    together = crowd(["a hat", "a bag", "a mug", "a hat", "a cap", "a shoe"])
    assert torch.equal(together[2:3], alone) and torch.equal(together[0], together[3])
    assert (crowd.hits, crowd.misses) == (0, 5)
    assert torch.equal(crowd(["a mug"]), alone) and crowd.hits == 1
    one_a_pass = _encoder(epsilon_pipe, rows=1)(["a mug"])
    torch.testing.assert_close(one_a_pass, alone)


def test_bytes_bound_it_and_a_batch_larger_than_the_bound_is_whole(epsilon_pipe: DreamCachePipeline) -> None:
    size = _encoder(epsilon_pipe)(["a"]).nbytes
    encoder = _encoder(epsilon_pipe, max_bytes=2 * size)
    prompts = ["a", "b", "c", "d"]
    assert encoder(prompts).shape[0] == 4
    assert encoder._recent.total == 2 * size and list(encoder._recent) == ["c", "d"]


def hit_rate(capacity: int, combinations: int) -> float:
    """Of an LRU of so many prompts: 200 subjects one after the other, each in 20 scenes with its own attributes."""
    recent: OrderedDict[tuple[int, int], None] = OrderedDict()
    random = Random(0)
    hits, prompts = 0, 0
    for _ in range(200):
        chosen = random.randrange(combinations)
        for prompt in ((chosen, scene) for scene in range(20)):
            prompts += 1
            hits += prompt in recent
            recent[prompt] = None
            recent.move_to_end(prompt)
            if len(recent) > capacity:
                recent.popitem(last=False)
    return round(hits / prompts, 2)


def test_a_hundred_combinations_of_attributes_fit() -> None:
    before, fits = 512, DEFAULT_BYTES // SD21_BYTES
    assert (hit_rate(before, 30), hit_rate(before, 100)) == (0.75, 0.21)
    assert (hit_rate(fits, 30), hit_rate(fits, 100)) == (0.85, 0.59), "each prompt is embedded once"
