"""What an export for a channel has done: report.csv, a line for each broken rule of an image, and report.json.

Knows breaches and counts; knows no image.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from dreamcache.storage.json_object import JsonObject
from jobs.channels.check import Breach, required_text
from jobs.channels.preset import Preset
from jobs.output.csv_file import CsvFile

COLUMNS = ("subject_id", "item_id", "file", "verdict", "rule", "level", "required", "measured", "by")
VERDICTS = ("accepted", "refused", "surplus", "lost")
"""surplus: the channel takes no more images of this subject. lost: the storage has it no more, or not as it was."""


class ChannelReport:
    """Lines as they come. `counts` are of images by verdict, `by_rule` of breaches."""

    def __init__(self, path: Path, preset: Preset) -> None:
        self.preset = preset
        self.counts = dict.fromkeys(VERDICTS, 0)
        self.by_rule: Counter[str] = Counter()
        self.first: list[str] = []
        self._file = CsvFile(path, COLUMNS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, row: JsonObject, verdict: str, name: str, found: Iterable[Breach]) -> None:
        """An image's verdict, with a line for each rule that it breaks, or one line."""
        self.counts[verdict] += 1
        about = {"subject_id": row["subject_id"], "item_id": row["item_id"], "file": name, "verdict": verdict}
        lines = [asdict(breach) for breach in found] or [dict.fromkeys(COLUMNS[4:], "")]
        for line in lines:
            if line["rule"]:
                self.by_rule[line["rule"]] += 1
            self._file.add({**about, **line})

    def note_refusal(self, row: JsonObject, found: Iterable[Breach], most: int = 20) -> None:
        """Keeps the first refusals, for the terminal."""
        if len(self.first) < most:
            reasons = "; ".join(str(breach) for breach in found if breach.level == "required")
            self.first.append(f"{row['subject_id']} (item {str(row['item_id'])[:12]}): {reasons}")

    def summary(self) -> JsonObject:
        """report.json: counts, and the rules with their sources."""
        sources = {name: asdict(source) for name, source in self.preset.sources.items()}
        rules = [
            {"name": rule.name, "level": rule.level, "required": required_text(rule), "source": rule.source}
            for rule in self.preset.rules
        ]
        return {
            "channel": self.preset.channel,
            "images": self.counts,
            "breaches": dict(self.by_rule.most_common()),
            "rules": rules,
            "sources": sources,
        }
