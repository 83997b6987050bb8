"""One guided prediction: the branches of guidance through the two halves of the U-Net, with the image condition.

Branches that share their text share the encoder half: combined guidance costs 2 encoder and 3 decoder halves. Only an
adapter with places in the encoder half, an ablation, has every branch run it. Savings leave halves and branches out
(`core.config.savings`). Knows halves, injection and guidance; knows nothing of prompts, schedulers or images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from dreamcache.core.config.savings import Guided, Savings, StepWork
from dreamcache.model.adapter import DreamCacheAdapter, KeysValues
from dreamcache.model.compiled import CompiledHalves
from dreamcache.model.guidance import BRANCHES, guide
from dreamcache.model.inject import Injector, Memory
from dreamcache.model.places import reach_the_encoder
from dreamcache.model.unet import EncoderState, decoder_half, encoder_half, time_embedding

Projected = Mapping[str, KeysValues]
"""One subject's adapter keys and values by place, each [1, heads, tokens, head size]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conditions:
    """What a batch of B samples is conditioned on.

    text, null_text: [B, tokens, width]; subjects: one per sample, None for plain generation.
    text_scale, image_scale, strength: [B]. added, null_added: [B, D] beside each text where the U-Net reads them
    (`unet.added_input`).
    """

    mode: str
    text: Tensor
    null_text: Tensor
    subjects: Sequence[Projected | None]
    text_scale: Tensor
    image_scale: Tensor
    strength: Tensor
    added: Tensor | None = None
    null_added: Tensor | None = None


class GuidedDenoiser:
    """model(x, t) for the sampler: x [B, 4, h, w] -> guided prediction of the same shape.

    Within `running(predictions)` hooks stay on and savings are followed; a call outside of it computes everything.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        adapter: DreamCacheAdapter | None,
        conditions: Conditions,
        *,
        savings: Savings = Savings(),
        halves: CompiledHalves | None = None,
    ) -> None:
        """halves: of this U-Net and adapter, compiled; None runs them as they are."""
        self.unet = unet
        self.adapter = adapter
        # Without any subject both modes are plain classifier-free guidance, at its cost.
        self.mode = conditions.mode if any(s is not None for s in conditions.subjects) else "text"
        self.branches = BRANCHES[self.mode]
        self.batch = conditions.text.shape[0]
        self.encoder_text = torch.cat([conditions.null_text, conditions.text])
        offsets = torch.tensor([self.batch if text else 0 for _, text in self.branches])
        self.from_encoder = (
            (offsets[:, None] + torch.arange(self.batch)[None]).flatten().to(conditions.text.device)
        )
        self.decoder_text = self.encoder_text.index_select(0, self.from_encoder)
        self.encoder_added: Tensor | None = None
        self.decoder_added: Tensor | None = None
        self._added_of_state: Tensor | None = None
        if conditions.added is not None and conditions.null_added is not None:
            self.encoder_added = torch.cat([conditions.null_added, conditions.added])
            self.decoder_added = self.encoder_added.index_select(0, self.from_encoder)
        self.text_scale = conditions.text_scale.view(-1, 1, 1, 1)
        self.image_scale = conditions.image_scale.view(-1, 1, 1, 1)
        self.memory = self._memory(conditions, self.branches)
        self.savings = savings
        # The last branch has every condition: savings compute it alone.
        self.last_memory = self._memory(conditions, self.branches[-1:]) if savings != Savings() else None
        self.shares_encoder = adapter is None or not reach_the_encoder(adapter.places)
        self.halves = halves
        self.injector: Injector | None = halves.injector if halves is not None else None
        if self.injector is None and adapter is not None and self.memory is not None:
            self.injector = Injector(unet, adapter)
        self._work: Iterator[StepWork] = iter(())
        self._state: EncoderState | None = None
        self._difference: Tensor | None = None

    @contextmanager
    def running(self, predictions: int) -> Iterator[None]:
        """A loop of so many calls."""
        self._work = self.savings.work(predictions)
        try:
            with self._installed():
                yield
        finally:
            self._work, self._state, self._difference, self._added_of_state = iter(()), None, None, None

    def __call__(self, x: Tensor, timestep: Tensor) -> Tensor:
        work = next(self._work, StepWork())
        # Only here: what a caller or a callback sees must be free to take part in a gradient.
        with self._installed(), torch.inference_mode():
            if work.guided is Guided.ALL:
                return self._guided(x, timestep, work)
            last = self._last(x, timestep, work)
            kept = self._difference if work.guided is Guided.KEPT else None
            return last if kept is None else last + kept

    def _guided(self, x: Tensor, timestep: Tensor, work: StepWork) -> Tensor:
        with self._reading(self.memory):
            if self.shares_encoder:
                state = self._encode(x, timestep, self.encoder_text, self.encoder_added, work)
                state = self._rows(state, self.from_encoder)
            else:
                state = self._encode(x, timestep, self.decoder_text, self.decoder_added, work)
            predictions = self._decode(state, self.decoder_text)
        branches = list(predictions.chunk(len(self.branches)))
        guided = guide(self.mode, branches, self.image_scale, self.text_scale)
        if self.savings.reuse_guidance > 1:
            self._difference = guided - branches[-1]
        return guided

    def _last(self, x: Tensor, timestep: Tensor, work: StepWork) -> Tensor:
        """The prediction of the branch with all conditions."""
        text = self.encoder_text[self.batch :]
        added = self.encoder_added[self.batch :] if self.encoder_added is not None else None
        with self._reading(self.last_memory):
            state = self._encode(x, timestep, text, added, work)
            rows = state.hidden.shape[0]
            if rows > self.batch:  # of every text or branch; the last one's rows are the last
                state = state.last(self.batch)
            return self._decode(state, text)

    def _decode(self, state: EncoderState, text: Tensor) -> Tensor:
        decoder = self.halves.decoder if self.halves is not None else decoder_half
        return decoder(self.unet, state, text)

    def _encode(
        self, x: Tensor, timestep: Tensor, text: Tensor, added: Tensor | None, work: StepWork
    ) -> EncoderState:
        """The encoder half for the rows of `text` and `added`, or its last state at this timestep."""
        state = self._state
        if work.encodes or state is None:
            rows = text.shape[0] // self.batch
            encoder = self.halves.encoder if self.halves is not None else encoder_half
            state = encoder(self.unet, torch.cat([x] * rows) if rows > 1 else x, timestep, text, added)
            self._state = state if self.savings.reuse_encoder > 1 else None
            self._added_of_state = added
            return state
        time = time_embedding(self.unet, x[:1], timestep, self._added_of_state)
        time = time.expand(state.time.shape[0], -1)
        return replace(state, time=time)

    def _rows(self, state: EncoderState, index: Tensor) -> EncoderState:
        return state if self.mode == "text" else state.rows(index)

    @contextmanager
    def _installed(self) -> Iterator[None]:
        with self.injector.installed() if self.injector is not None else nullcontext():
            yield

    @contextmanager
    def _reading(self, memory: Memory | None) -> Iterator[None]:
        if self.injector is None:
            yield
            return
        self.injector.memory = memory
        try:
            yield
        finally:
            self.injector.memory = None

    def _memory(self, conditions: Conditions, branches: Sequence[tuple[bool, bool]]) -> Memory | None:
        """Stacks keys and values once for all steps: a row for each image branch of each sample with a subject."""
        batch = self.batch
        with_subject = [i for i, subject in enumerate(conditions.subjects) if subject is not None]
        image_branches = [b for b, (image, _) in enumerate(branches) if image]
        if not with_subject or not image_branches or self.adapter is None:
            return None
        stacked = {}
        for place in next(s for s in conditions.subjects if s is not None):
            chosen = [conditions.subjects[i][place] for i in with_subject]  # type: ignore[index]
            stacked[place] = KeysValues(
                keys=torch.cat([kv.keys for kv in chosen] * len(image_branches)),
                values=torch.cat([kv.values for kv in chosen] * len(image_branches)),
            )
        device = conditions.text.device
        rows = torch.tensor([b * batch + i for b in image_branches for i in with_subject], device=device)
        strength = None
        if bool((conditions.strength != 1).any()):
            strength = (
                conditions.strength[torch.tensor(with_subject, device=device)]
                .repeat(len(image_branches))
                .view(-1, 1, 1)
            )
        every_row = len(rows) == batch * len(branches)
        return Memory(keys_values=stacked, rows=None if every_row else rows, strength=strength)
