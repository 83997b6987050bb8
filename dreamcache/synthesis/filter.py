"""Stage 2, filter: drops repeated captions, counts the others, and writes a report (docs/method.md section 5.2).

Captions come in a fixed order and the first of its kind stays, so the same captions give the same result. Near
duplicates are found by MinHash (datasketch) and confirmed by the exact Jaccard similarity of their word pairs.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dreamcache.core.config.synthesize import FilterSettings

STAGE = "filter"
REASONS: Mapping[str, str] = {
    "too_short": "fewer words than min_words",
    "too_long": "more words than max_words",
    "object_not_named": "the caption does not name its object, which the mask needs",
    "exact_duplicate": "the same words as an earlier caption",
    "near_duplicate": "too similar to an earlier caption",
    "object_cap": "its object has max_per_object captions",
    "category_cap": "its category has max_per_category captions",
}
"""Why a caption is dropped, in the order of the checks; codes are stable."""

BAR = 40
SHOWN = 40


@dataclass(kw_only=True, slots=True)
class FilterCounts:
    """before, after: captions by "object", "category" and "words"; dropped: by reason."""

    before: dict[str, Counter[Any]] = field(default_factory=lambda: _counters())
    after: dict[str, Counter[Any]] = field(default_factory=lambda: _counters())
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def num_before(self) -> int:
        return self.before["category"].total()

    @property
    def num_after(self) -> int:
        return self.after["category"].total()

    def as_dict(self) -> dict[str, Any]:
        return {
            "captions": self.num_before,
            "kept": self.num_after,
            "dropped": {reason: self.dropped[reason] for reason in REASONS},
            **{
                f"by_{name}": [
                    {name: key, "captions": count, "kept": self.after[name][key]}
                    for key, count in sorted(self.before[name].items(), key=lambda one: (-one[1], one[0]))
                ]
                for name in self.before
            },
        }


def keep(
    captions: Iterable[Mapping[str, Any]], settings: FilterSettings
) -> tuple[list[dict[str, Any]], FilterCounts]:
    """The captions that stay, in order, and the counts."""
    judge, counts, kept = _Judge(settings), FilterCounts(), []
    for caption in captions:
        _count(counts.before, caption)
        reason = judge(caption, counts.after)
        if reason is not None:
            counts.dropped[reason] += 1
            continue
        _count(counts.after, caption)
        kept.append(dict(caption))
    return kept, counts


class _Judge:
    """Decides on captions one by one and remembers those that stay."""

    def __init__(self, settings: FilterSettings) -> None:
        from datasketch import MinHashLSH

        self.settings = settings
        self.seen: set[tuple[str, ...]] = set()
        self.pairs: list[frozenset[str]] = []
        # Matches are confirmed exactly, so a false match is cheap and a missed one is not.
        self.near = MinHashLSH(
            threshold=settings.similarity, num_perm=settings.num_permutations, weights=(0.05, 0.95)
        )

    def __call__(self, caption: Mapping[str, Any], kept: Mapping[str, Counter[Any]]) -> str | None:
        """A reason to drop it; None keeps it."""
        rules, words = self.settings, words_of(caption["caption"])
        if len(words) < rules.min_words:
            return "too_short"
        if len(words) > rules.max_words:
            return "too_long"
        if f" {' '.join(words_of(caption['object']))} " not in f" {' '.join(words)} ":
            return "object_not_named"
        if words in self.seen:
            return "exact_duplicate"
        if rules.max_per_object and kept["object"][caption["object"]] >= rules.max_per_object:
            return "object_cap"
        if rules.max_per_category and kept["category"][caption["category"]] >= rules.max_per_category:
            return "category_cap"
        pairs = _pairs(words)
        sketch = self._sketch(pairs)
        for number in self.near.query(sketch):
            other = self.pairs[int(number)]
            if len(pairs & other) / len(pairs | other) >= rules.similarity:
                return "near_duplicate"
        self.near.insert(str(len(self.pairs)), sketch)
        self.pairs.append(pairs)
        self.seen.add(words)
        return None

    def _sketch(self, pairs: frozenset[str]) -> Any:
        from datasketch import MinHash

        sketch = MinHash(num_perm=self.settings.num_permutations, seed=1)
        sketch.update_batch([pair.encode() for pair in sorted(pairs)])
        return sketch


def words_of(text: str) -> tuple[str, ...]:
    """Lower-case words, without punctuation."""
    return tuple(re.findall(r"[\w']+", text.lower()))


def report(counts: FilterCounts) -> str:
    """The counts as Markdown, with histograms before and after."""
    parts = [
        "# Captions\n",
        f"{counts.num_before} captions, {counts.num_after} kept.\n",
        "| dropped because | captions |\n|---|---|",
        *(f"| {REASONS[reason]} (`{reason}`) | {counts.dropped[reason]} |" for reason in REASONS),
    ]
    for name, title in (("category", "Categories"), ("object", "Objects"), ("words", "Words in a caption")):
        parts += [f"\n## {title}\n", "```", *_histogram(counts.before[name], counts.after[name], name), "```"]
    return "\n".join(parts) + "\n"


def _histogram(before: Counter[Any], after: Counter[Any], name: str) -> list[str]:
    """A bar for each: kept ones full, dropped ones light."""
    rows = sorted(
        before.items(), key=(lambda one: one[0]) if name == "words" else (lambda one: (-one[1], one[0]))
    )
    most, width = max(before.values(), default=1), max((len(str(key)) for key, _ in rows[:SHOWN]), default=0)
    lines = []
    for key, count in rows[:SHOWN]:
        full = round(after[key] / most * BAR)
        light = max(0, round(count / most * BAR) - full)
        lines.append(f"{key!s:>{width}}  {'█' * full}{'░' * light} {after[key]} of {count}")
    if len(rows) > SHOWN:
        lines.append(f"and {len(rows) - SHOWN} more, see report.json")
    return lines or ["none"]


def _pairs(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(" ".join(words[i : i + 2]) for i in range(max(1, len(words) - 1)))


def _counters() -> dict[str, Counter[Any]]:
    return {"category": Counter(), "object": Counter(), "words": Counter()}


def _count(counters: Mapping[str, Counter[Any]], caption: Mapping[str, Any]) -> None:
    counters["category"][caption["category"]] += 1
    counters["object"][caption["object"]] += 1
    counters["words"][len(words_of(caption["caption"]))] += 1
