"""A prompt of as many tokens as the text model reads is used, one more is refused."""

from __future__ import annotations

import pytest

from dreamcache import DreamCachePipeline
from dreamcache.model.text import PromptError


def test_the_limit_counts_start_and_end(epsilon_pipe: DreamCachePipeline) -> None:
    """The tiny tokenizer spells every word in letters."""
    longest = "a" * 75
    epsilon_pipe.prompts.check(longest)
    assert epsilon_pipe.prompts([longest]).shape[1] == 77
    with pytest.raises(PromptError, match="at most 77 tokens with start and end, got 78"):
        epsilon_pipe.prompts.check(longest + "a")
