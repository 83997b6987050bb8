"""The quality gate: an image that is too far from its reference or prompt is generated again with the next seed.

    requests -> tries -> Generator -> Scorer, TruthChecker -> decided: Generated | Blocked | Failed
                  ^                                               |
                  +----------------- not decided -----------------+

A generator's batch always has one shape, so its free places are given to the next tries of items that are not
decided yet. The decision never depends on them: tries are judged in their order. Knows Generator and Scorer;
knows nothing of Ray or ledgers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from PIL import Image

from dreamcache.core import ids
from dreamcache.core.config.quality import QualitySettings
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Blocked, Failed, Quality, Request
from dreamcache.evaluation.score import Scorer
from dreamcache.evaluation.scores import RealPhoto, Score, ScoreRequest
from dreamcache.evaluation.truth.check import Truth, TruthChecker
from dreamcache.inference.outcome import Generated, GenerationOutcome
from dreamcache.inference.protocols import BatchGenerator
from dreamcache.inference.truth_rules import Broken, broken_rules, nearness

LOW_QUALITY = "low_quality"
NO_REFERENCE_SEGMENT = "no_reference_segment"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Try:
    """An image of an item, or the reason why this seed gave none, and its scores, as far as the gate asks for them.

    broken: rules of the truth checks that the image breaks.
    """

    seed: int
    outcome: GenerationOutcome
    score: Score | None = None
    truth: Truth | None = None
    broken: tuple[Broken, ...] = ()


class Gate:
    """The interface of Generator: one outcome per request, in order."""

    def __init__(
        self,
        generator: BatchGenerator,
        scorer: Scorer | None,
        settings: QualitySettings,
        truth: TruthChecker | None = None,
    ) -> None:
        """scorer: of `settings.used_metrics`; truth: of `settings.checks`. None where these are none."""
        self.generator = generator
        self.scorer = scorer
        self.settings = settings
        self.truth = truth

    def generate(self, requests: Sequence[Request]) -> list[GenerationOutcome]:
        tries: dict[str, list[Try]] = {request.item_id: [] for request in requests}
        decided: dict[str, GenerationOutcome] = {}
        while pending := [request for request in requests if request.item_id not in decided]:
            self._next_tries(pending, tries)
            for request in pending:
                outcome = self._decide(request, tries[request.item_id])
                if outcome is not None:
                    decided[request.item_id] = outcome
        return [decided[request.item_id] for request in requests]

    def _next_tries(self, pending: Sequence[Request], tries: Mapping[str, list[Try]]) -> None:
        """The next try of each item, and as many further ones as whole batches have room for."""
        size = self.generator.batch_size
        rounds = (
            (request, len(tries[request.item_id]) + ahead)
            for ahead in range(self.settings.tries)
            for request in pending
        )
        wanted = ((request, number) for request, number in rounds if number < self.settings.tries)
        wave = list(islice(wanted, math.ceil(len(pending) / size) * size))
        outcomes = self.generator.generate([_try_of(request, number) for request, number in wave])
        for (request, number), outcome in zip(wave, outcomes, strict=True):
            tries[request.item_id].append(
                self._judged(request, ids.seed_of_try(request.seed, number), outcome)
            )

    def _judged(self, request: Request, seed: int, outcome: GenerationOutcome) -> Try:
        if not isinstance(outcome, Generated):
            return Try(seed=seed, outcome=outcome)
        score = self._score(request, outcome, self.scorer) if self.scorer is not None else None
        truth = self.truth.check(request, outcome.rgb) if self.truth is not None else None
        broken = broken_rules(truth, self.settings) if truth is not None and truth.code is None else ()
        return Try(seed=seed, outcome=outcome, score=score, truth=truth, broken=broken)

    def _score(self, request: Request, generated: Generated, scorer: Scorer) -> Score:
        photos = tuple(
            RealPhoto(photo_id=one.reference_id, uri=one.image, mask=one.mask) for one in photos_of(request)
        )
        score_request = ScoreRequest(
            score_id=request.item_id,
            subject_id=request.subject_id,
            class_name=request.class_name,
            image=f"item {request.item_id[:12]}",
            prompt=request.prompt,
            real=photos,
        )
        return scorer.score_one(score_request, Image.fromarray(generated.rgb))

    def _decide(self, request: Request, tries: Sequence[Try]) -> GenerationOutcome | None:
        """The item's end, as soon as its tries, judged one after the other, decide it."""
        for number, candidate in enumerate(tries, start=1):
            unfit = self._unjudgeable(request, candidate)
            if unfit is not None:
                return unfit
            if self.settings.keep == "first" and self._passes(candidate):
                return self._kept(request, candidate, tries[:number])
        if len(tries) < self.settings.tries:
            return None
        generated = [candidate for candidate in tries if isinstance(candidate.outcome, Generated)]
        passing = [candidate for candidate in generated if self._passes(candidate)]
        if passing:
            return self._kept(request, max(passing, key=self._rank), tries)
        if generated:
            return self._rejected(request, max(generated, key=self._rank), tries)
        return self._without_image(request, tries)

    def _unjudgeable(self, request: Request, candidate: Try) -> Failed | None:
        """What no other seed would change: the photo cannot be read, or shows no subject."""
        score, truth = candidate.score, candidate.truth
        if truth is not None and truth.code is not None:
            return Failed(item_id=request.item_id, code=truth.code, message=truth.message or "")
        if score is None:
            return None
        if score.code is not None:
            return Failed(item_id=request.item_id, code=score.code, message=score.message or "")
        if score.num_real_unreadable:
            message = (
                f"subject '{request.subject_id}': {score.num_real_unreadable} of its photos could not be read while "
                "images were judged; the next run tries again"
            )
            return Failed(item_id=request.item_id, code="io_error", message=message)
        if score.num_real_found == 0:
            message = (
                f"subject '{request.subject_id}': image '{request.image}': quality.image_metric "
                f"{self.settings.image_metric} needs the subject cut out, but {self.settings.metrics.segmenter} found "
                f"nothing on it; give a mask, use another quality.metrics.segmenter, or a metric without 'm'"
            )
            return Failed(item_id=request.item_id, code=NO_REFERENCE_SEGMENT, message=message)
        return None

    def _values(self, candidate: Try) -> tuple[float | None, float | None]:
        """(image score, text score), each None where there is no threshold or no score."""
        settings, values = self.settings, candidate.score.values if candidate.score is not None else {}
        return (
            values.get(settings.image_metric) if settings.min_image is not None else None,
            values.get(settings.text_metric) if settings.min_text is not None else None,
        )

    def _passes(self, candidate: Try) -> bool:
        return (
            isinstance(candidate.outcome, Generated) and not candidate.broken and self._is_similar(candidate)
        )

    def _is_similar(self, candidate: Try) -> bool:
        least = (self.settings.min_image, self.settings.min_text)
        return all(
            minimum is None or (value is not None and value >= minimum)
            for value, minimum in zip(self._values(candidate), least, strict=True)
        )

    def _rank(self, candidate: Try) -> tuple[float, ...]:
        similar = tuple(-math.inf if value is None else value for value in self._values(candidate))
        true = nearness(candidate.truth, self.settings) if candidate.truth is not None else ()
        return (-len(candidate.broken), *similar, *true)

    def _quality(self, candidate: Try, tries: Sequence[Try]) -> Quality:
        image, text = self._values(candidate)
        truth = asdict(candidate.truth) if candidate.truth is not None else {}
        measured = {name: value for name, value in truth.items() if name not in ("code", "message")}
        return Quality(tries=len(tries), seed=candidate.seed, image_score=image, text_score=text, **measured)

    def _kept(self, request: Request, candidate: Try, tries: Sequence[Try]) -> Generated:
        assert isinstance(candidate.outcome, Generated)
        seconds = sum(one.outcome.seconds for one in tries if isinstance(one.outcome, Generated))
        quality = self._quality(candidate, tries)
        return replace(candidate.outcome, item_id=request.item_id, seconds=seconds, quality=quality)

    def _rejected(self, request: Request, best: Try, tries: Sequence[Try]) -> Blocked:
        settings = self.settings
        names = (settings.image_metric, settings.text_metric)
        least = (settings.min_image, settings.min_text)
        rows = [(n, m, v) for n, m, v in zip(names, least, self._values(best), strict=True) if m is not None]
        reason = best.score.reason if best.score is not None else None
        rules = [f"{name} at least {minimum:g}" for name, minimum, _ in rows]
        values = [
            f"{name} {value:.3f}" if value is not None else f"no {name} ({reason})" for name, _, value in rows
        ]
        rules += [one.rule for one in best.broken]
        values += [f"{one.code}: {one.got}" for one in best.broken]
        message = (
            f"item {request.item_id[:12]} of subject '{request.subject_id}': quality requires {' and '.join(rules)}, "
            f"the best of {len(tries)} tries has {', '.join(values)}; lower the threshold, raise quality.tries, or fix "
            "photo or prompt"
        )
        code = best.broken[0].code if best.broken else LOW_QUALITY
        return Blocked(
            item_id=request.item_id, code=code, message=message, quality=self._quality(best, tries)
        )

    def _without_image(self, request: Request, tries: Sequence[Try]) -> Blocked | Failed:
        """No seed gave an image: the item ends as its last try did."""
        last = tries[-1].outcome
        assert not isinstance(last, Generated)
        if isinstance(last, Blocked):
            quality = Quality(tries=len(tries), seed=tries[-1].seed)
            return replace(last, item_id=request.item_id, quality=quality)
        return replace(last, item_id=request.item_id)


def _try_of(request: Request, number: int) -> Request:
    # An id of its own, by which the generator distinguishes outcomes; its beginning is still the item's.
    return replace(request, item_id=f"{request.item_id}/{number}", seed=ids.seed_of_try(request.seed, number))
