"""Decoding beside denoising: pixels are those of one stage after the other, and a failure costs what it costs there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from dreamcache import DreamCachePipeline
from dreamcache.core.errors import ModelError
from dreamcache.core.records import Failed, Request
from dreamcache.inference.outcome import Generated, GenerationOutcome
from dreamcache.inference.overlap import NO_ROOM, Overlapped
from dreamcache.model.features import SubjectFeatures
from tests.inference.test_generate import Faulty, make, pipe, requests, subject, too_large

__all__ = ["pipe", "subject"]

WAIT_S = 60


class Decoding:
    """The real pipeline, whose `decode` calls `before(number of the call)` first."""

    def __init__(self, pipe: Any, before: Callable[[int], None]) -> None:
        self.pipe, self.before, self.count = pipe, before, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pipe, name)

    def __call__(self, **settings: Any) -> Any:
        return self.pipe(**settings)

    def decode(self, latents: torch.Tensor) -> Any:
        self.count += 1
        self.before(self.count)
        return self.pipe.decode(latents)


def same(outcomes: list[GenerationOutcome], wanted: list[GenerationOutcome]) -> bool:
    pairs = zip(outcomes, wanted, strict=True)
    return all(
        isinstance(a, Generated) and isinstance(b, Generated) and np.array_equal(a.rgb, b.rgb)
        for a, b in pairs
    )


def nothing() -> None:
    return None


def test_a_batch_is_decoded_while_the_next_is_denoised(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    """The first decoding ends only after the second batch is denoised; batches of two and of one, in other threads."""
    second_is_denoised = threading.Event()

    def before(number: int) -> None:
        if number == 1:
            assert second_is_denoised.wait(WAIT_S)

    overlapped = Overlapped(make(Decoding(pipe, before), subject, batch_size=2))
    order: list[str] = []
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(overlapped.begin(requests(2)), lambda: order.append("first"))
        finish = overlapped.begin(requests(3)[2:])
        second_is_denoised.set()
        second = threads.submit(finish, lambda: order.append("second"))
        outcomes = first.result(WAIT_S) + second.result(WAIT_S)
    assert order[0] == "first" and len(order) == 2
    assert same(outcomes, make(pipe, subject, batch_size=2).generate(requests(3)))
    assert all(isinstance(one, Generated) and one.seconds > 0 for one in outcomes)


def test_a_failed_decoding_is_generated_again_alone(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def before(number: int) -> None:
        raise RuntimeError("the decoder failed")

    faulty = Decoding(pipe, before)
    overlapped = Overlapped(make(faulty, subject))
    outcomes = overlapped.begin(requests(3))(nothing)
    assert same(outcomes, make(pipe, subject).generate(requests(3))) and faulty.count == 1
    assert overlapped.is_on and overlapped.take_note() is None


def test_an_item_that_cannot_be_generated_fails_as_without_overlap(
    pipe: DreamCachePipeline, subject: SubjectFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails in the decoder for one item alone, fails in both stages."""
    vae_decode = pipe.base.vae.decode
    marked: list[torch.Tensor] = []

    def decode(latents: torch.Tensor, **options: Any) -> Any:
        marked[:] = marked or [latents[1].clone()]
        if any(torch.equal(row, marked[0]) for row in latents):
            raise ValueError("a row that cannot be decoded")
        return vae_decode(latents, **options)

    monkeypatch.setattr(pipe.base.vae, "decode", decode)
    wanted = make(pipe, subject).generate(requests(3))
    outcomes = Overlapped(make(pipe, subject)).begin(requests(3))(nothing)
    assert [isinstance(one, Failed) for one in outcomes] == [False, True, False]
    assert outcomes[1] == wanted[1] and same(outcomes[::2], wanted[::2])


def test_what_the_model_refuses_of_an_item_costs_that_item_alone(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    """A ModelError of a call is about its arguments; of what is read before, it is about all items."""

    def refuse(prompts: list[str]) -> None:
        if "marked" in prompts:
            raise ModelError("a subject of another base")

    wanted = make(Faulty(pipe, refuse), subject).generate(requests(3, marked=1))
    outcomes = Overlapped(make(Faulty(pipe, refuse), subject)).begin(requests(3, marked=1))(nothing)
    assert isinstance(outcomes[1], Failed) and outcomes[1] == wanted[1]
    assert same(outcomes[::2], wanted[::2])

    def read(request: Request) -> SubjectFeatures:
        raise ModelError("another base")

    unread = make(pipe, subject)
    unread.features_of = read
    with pytest.raises(ModelError, match="another base"):
        Overlapped(unread).begin(requests(2))


def test_without_room_for_both_stages_they_run_one_after_the_other(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    def before(number: int) -> None:
        raise torch.OutOfMemoryError

    generator = make(Decoding(pipe, before), subject)
    overlapped = Overlapped(generator)
    outcomes = overlapped.begin(requests(2))(nothing)
    assert same(outcomes, make(pipe, subject).generate(requests(2)))
    assert not overlapped.is_on and overlapped.take_note() == NO_ROOM
    assert generator.micro_batch == generator.batch_size, "the batch itself fits"
    assert same(overlapped.begin(requests(2))(nothing), outcomes)


def test_no_note_hides_another(pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    """No room for both stages, and then none for the whole batch alone."""
    most = [4]
    faulty = Faulty(pipe, lambda prompts: too_large(most[0])(prompts))

    def before(number: int) -> None:
        most[0] = 2
        raise torch.OutOfMemoryError

    overlapped = Overlapped(make(Decoding(faulty, before), subject))
    assert all(isinstance(one, Generated) for one in overlapped.begin(requests(4))(nothing))
    note = overlapped.take_note()
    assert note is not None and NO_ROOM in note and "continues with 2" in note
    assert overlapped.take_note() is None


def test_a_vae_without_room_beside_the_denoiser_keeps_its_rows(
    pipe: DreamCachePipeline, subject: SubjectFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fewer rows a pass are other last bits, which must not depend on what ran beside."""
    vae_decode = pipe.base.vae.decode
    wanted = make(pipe, subject).generate(requests(4))
    passes: list[int] = []

    def decode(latents: torch.Tensor, **options: Any) -> Any:
        passes.append(len(latents))
        if len(passes) == 1:
            raise torch.OutOfMemoryError
        return vae_decode(latents, **options)

    monkeypatch.setattr(pipe.base.vae, "decode", decode)
    overlapped = Overlapped(make(pipe, subject))
    outcomes = overlapped.begin(requests(4))(nothing)
    assert same(outcomes, wanted) and passes == [4, 4]
    assert not overlapped.is_on and overlapped.take_note() == NO_ROOM


def test_a_lost_device_is_no_items_fault(pipe: DreamCachePipeline, subject: SubjectFeatures) -> None:
    def before(number: int) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    overlapped = Overlapped(make(Decoding(pipe, before), subject))
    with pytest.raises(torch.AcceleratorError):
        overlapped.begin(requests(2))(nothing)
    assert overlapped.alone(lambda: []) == [], "nothing is decoding"


def test_requests_that_are_several_batches_or_none_are_generated_at_once(
    pipe: DreamCachePipeline, subject: SubjectFeatures
) -> None:
    decoding = Decoding(pipe, lambda number: None)
    overlapped = Overlapped(make(decoding, subject, batch_size=2))
    assert same(
        overlapped.begin(requests(3))(nothing), make(pipe, subject, batch_size=2).generate(requests(3))
    )
    [failed] = overlapped.begin([replace(requests(1)[0], prompt="w " * 200)])(nothing)
    assert isinstance(failed, Failed) and failed.code == "prompt_too_long" and decoding.count == 0
