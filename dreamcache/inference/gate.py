"""The quality gate: an image that is too far from its reference or prompt is drawn again with the next seed.

    requests -> tries -> Generator -> Scorer -> decided: Drawn | Blocked (low_quality) | Failed
                  ^                                 |
                  +---------- not decided ----------+

A generator's batch always has one shape, so its free places are given to the next tries of items that are not
decided yet. What is decided never hangs on them: tries are looked at in their order. Knows Generator and Scorer;
knows nothing of Ray or ledgers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.records import Blocked, Failed, Quality, Request
from dreamcache.evaluation.score import Scorer
from dreamcache.evaluation.scores import RealPhoto, Score, ScoreRequest
from dreamcache.inference.generate import Drawn
from dreamcache.inference.protocols import BatchGenerator

LOW_QUALITY = "low_quality"
NO_REFERENCE_SEGMENT = "no_reference_segment"

Outcome = Drawn | Blocked | Failed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Try:
    """An image of an item, or the reason why this seed gave none, and its scores."""

    seed: int
    outcome: Outcome
    score: Score | None = None


class Gate:
    """Has the face of Generator: one outcome per request, in order."""

    def __init__(self, generator: BatchGenerator, scorer: Scorer, settings: QualitySettings) -> None:
        """scorer: of `settings.used_metrics`."""
        self.generator = generator
        self.scorer = scorer
        self.settings = settings

    def generate(self, requests: Sequence[Request]) -> list[Outcome]:
        tries: dict[str, list[Try]] = {request.item_id: [] for request in requests}
        decided: dict[str, Outcome] = {}
        while left := [request for request in requests if request.item_id not in decided]:
            self._draw(left, tries)
            for request in left:
                outcome = self._decide(request, tries[request.item_id])
                if outcome is not None:
                    decided[request.item_id] = outcome
        return [decided[request.item_id] for request in requests]

    def _draw(self, left: Sequence[Request], tries: Mapping[str, list[Try]]) -> None:
        """The next try of each item, and as many further ones as whole batches have room for."""
        size = self.generator.batch_size
        rounds = (
            (request, len(tries[request.item_id]) + ahead)
            for ahead in range(self.settings.tries)
            for request in left
        )
        wanted = ((request, number) for request, number in rounds if number < self.settings.tries)
        wave = list(islice(wanted, math.ceil(len(left) / size) * size))
        drawn = self.generator.generate([_try_of(request, number) for request, number in wave])
        for (request, number), outcome in zip(wave, drawn, strict=True):
            score = self._score(request, outcome) if isinstance(outcome, Drawn) else None
            seed = ids.seed_of_try(request.seed, number)
            tries[request.item_id].append(Try(seed=seed, outcome=outcome, score=score))

    def _score(self, request: Request, drawn: Drawn) -> Score:
        photo = RealPhoto(photo_id=request.reference_id, uri=request.image, mask=request.mask)
        asked = ScoreRequest(
            score_id=request.item_id,
            subject_id=request.subject_id,
            class_name=request.class_name,
            image=f"item {request.item_id[:12]}",
            prompt=request.prompt,
            real=(photo,),
        )
        return self.scorer.score_one(asked, Image.fromarray(drawn.rgb))

    def _decide(self, request: Request, tries: Sequence[Try]) -> Outcome | None:
        """The item's end, as soon as tries, looked at one after the other, decide it."""
        for number, made in enumerate(tries, start=1):
            unfit = self._unjudgeable(request, made)
            if unfit is not None:
                return unfit
            if self.settings.keep == "first" and self._passes(made):
                return self._kept(request, made, tries[:number])
        if len(tries) < self.settings.tries:
            return None
        scored = [made for made in tries if made.score is not None]
        passing = [made for made in scored if self._passes(made)]
        if passing:
            return self._kept(request, max(passing, key=self._rank), tries)
        if scored:
            return self._rejected(request, max(scored, key=self._rank), tries)
        return self._without_image(request, tries)

    def _unjudgeable(self, request: Request, made: Try) -> Failed | None:
        """What no other seed would change: the photo cannot be read, or nothing is found on it."""
        score = made.score
        if score is None:
            return None
        if score.code is not None:
            return Failed(item_id=request.item_id, code=score.code, message=score.message or "")
        if score.num_real_found == 0:
            message = (
                f"subject '{request.subject_id}': image '{request.image}': quality.image_metric "
                f"{self.settings.image_metric} needs the subject cut out, but {self.scorer.settings.segmenter} found "
                f"nothing on it; give a mask, use another quality.metrics.segmenter, or a metric without 'm'"
            )
            return Failed(item_id=request.item_id, code=NO_REFERENCE_SEGMENT, message=message)
        return None

    def _values(self, made: Try) -> tuple[float | None, float | None]:
        """(image score, text score), each None where it is not asked for or not to be had."""
        asked, values = self.settings, made.score.values if made.score is not None else {}
        return (
            values.get(asked.image_metric) if asked.min_image is not None else None,
            values.get(asked.text_metric) if asked.min_text is not None else None,
        )

    def _passes(self, made: Try) -> bool:
        least = (self.settings.min_image, self.settings.min_text)
        return made.score is not None and all(
            minimum is None or (value is not None and value >= minimum)
            for value, minimum in zip(self._values(made), least, strict=True)
        )

    def _rank(self, made: Try) -> tuple[float, ...]:
        return tuple(-math.inf if value is None else value for value in self._values(made))

    def _quality(self, made: Try, tries: Sequence[Try]) -> Quality:
        image, text = self._values(made)
        return Quality(tries=len(tries), seed=made.seed, image_score=image, text_score=text)

    def _kept(self, request: Request, made: Try, tries: Sequence[Try]) -> Drawn:
        assert isinstance(made.outcome, Drawn)
        seconds = sum(one.outcome.seconds for one in tries if isinstance(one.outcome, Drawn))
        quality = self._quality(made, tries)
        return replace(made.outcome, item_id=request.item_id, seconds=seconds, quality=quality)

    def _rejected(self, request: Request, best: Try, tries: Sequence[Try]) -> Blocked:
        asked = self.settings
        names = (asked.image_metric, asked.text_metric)
        least = (asked.min_image, asked.min_text)
        told = [(n, m, v) for n, m, v in zip(names, least, self._values(best), strict=True) if m is not None]
        rule = " and ".join(f"{name} at least {minimum:g}" for name, minimum, _ in told)
        reason = best.score.reason if best.score is not None else None
        got = ", ".join(
            f"{name} {value:.3f}" if value is not None else f"no {name} ({reason})" for name, _, value in told
        )
        message = (
            f"item {request.item_id[:12]} of subject '{request.subject_id}': quality asks for {rule}, the best of "
            f"{len(tries)} tries has {got}; lower the threshold, raise quality.tries, or mend photo or prompt"
        )
        return Blocked(
            item_id=request.item_id, code=LOW_QUALITY, message=message, quality=self._quality(best, tries)
        )

    def _without_image(self, request: Request, tries: Sequence[Try]) -> Blocked | Failed:
        """No seed gave an image: the item ends as its last try did."""
        last = tries[-1].outcome
        assert not isinstance(last, Drawn)
        if isinstance(last, Blocked):
            quality = Quality(tries=len(tries), seed=tries[-1].seed)
            return replace(last, item_id=request.item_id, quality=quality)
        return replace(last, item_id=request.item_id)


def _try_of(request: Request, number: int) -> Request:
    # An id of its own, by which the generator tells outcomes apart; its beginning is still the item's.
    return replace(request, item_id=f"{request.item_id}/{number}", seed=ids.seed_of_try(request.seed, number))
