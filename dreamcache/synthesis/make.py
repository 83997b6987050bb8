"""The verb synthesize: loads what one stage needs and produces its parts. Each is committed as soon as it is complete.

Knows all the stages; knows nothing of Ray, nor of which worker gets which part.
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.synthesize import CaptionSettings, MaskSettings, PictureSettings
from dreamcache.synthesis import captions, dataset, masks, render
from dreamcache.synthesis.parts import StagePart, commit


@dataclass(frozen=True, kw_only=True, slots=True)
class StageContext:
    """What a worker of a stage needs to know. num_threads: torch threads of one worker."""

    output: str
    stage: str
    seed: int
    captions: CaptionSettings
    images: PictureSettings
    masks: MaskSettings
    num_threads: int = 1


class StageMaker:
    """Produces parts of one stage. Raises ModelError when the stage's model cannot be loaded."""

    def __init__(self, context: StageContext, *, device: str = "cpu") -> None:
        self.context = context
        if context.stage == captions.STAGE:
            self.captioner = captions.create_captioner(context.captions, device=device)
        elif context.stage == render.STAGE:
            self.painter = render.create_painter(context.images, device=device)
        elif context.stage == masks.STAGE:
            self.masker = masks.Masker(context.masks, device=device)

    def __call__(self, part: StagePart) -> bool:
        """Produces and commits one part; False if another worker was first."""
        return commit(self.context.output, part, self._bytes(part))

    def _bytes(self, part: StagePart) -> bytes:
        context = self.context
        if part.stage == captions.STAGE:
            return captions.make_part(self.captioner, part, context.seed)
        if part.stage == render.STAGE:
            return render.make_part(self.painter, part, context.images)
        if part.stage == masks.STAGE:
            return self.masker.make_part(context.output, part)
        return dataset.make_shard(context.output, part)
