"""Savings of sampling: which parts of a guided prediction a step computes, and which it takes from an earlier step.

    Savings, number of predictions --work--> StepWork of each prediction

The denoiser computes by it, and estimates count by it. Knows numbers; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Annotated

from annotated_types import Interval

from dreamcache.core.config.fields import Share
from dreamcache.core.config.rules import Settings, require

EverySo = Annotated[int, Interval(ge=1, le=10)]
"""1: at every prediction. n: at every n-th one."""

WHOLE = (0.0, 1.0)
NO_GUIDANCE = (0.0, 0.0)


class Guided(Enum):
    """How a prediction is guided."""

    ALL = "all branches are computed"
    KEPT = "the branch with all conditions is computed, and guided by the last difference that was computed"
    NOT = "the branch with all conditions is the prediction"


@dataclass(frozen=True, kw_only=True, slots=True)
class StepWork:
    """Of one prediction. encodes: whether the encoder half runs, or its last state is used again."""

    guided: Guided = Guided.ALL
    encodes: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Savings(Settings):
    """reuse_encoder: the encoder half runs at every so many predictions, and its state serves those between.

    reuse_guidance: the branches with dropped conditions run at every so many predictions; between, the difference that
    they made is added again. guidance_interval: from which to which share of the predictions guidance acts; outside of
    it only the branch with all conditions runs; [0, 0] is no guidance, for distilled bases.
    """

    reuse_encoder: EverySo = 1
    reuse_guidance: EverySo = 1
    guidance_interval: tuple[Share, Share] = WHOLE

    def check(self) -> None:
        start, end = self.guidance_interval
        rule = "two shares, the first below the second, or [0, 0]"
        require(start < end or (start, end) == NO_GUIDANCE, "guidance_interval", rule, [start, end])

    def work(self, predictions: int) -> Iterator[StepWork]:
        """Of each of so many predictions, in order."""
        start, end = self.guidance_interval
        guided_before = 0
        encoded = Guided.ALL
        for index in range(predictions):
            if not start <= index / predictions < end:
                guided = Guided.NOT
            else:
                guided = Guided.KEPT if guided_before % self.reuse_guidance else Guided.ALL
                guided_before += 1
            # A state of the last branch alone has no rows for the others.
            encodes = index % self.reuse_encoder == 0 or (guided is Guided.ALL and encoded is not Guided.ALL)
            if encodes:
                encoded = guided
            yield StepWork(guided=guided, encodes=encodes)
