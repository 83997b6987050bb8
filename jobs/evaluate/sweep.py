"""A sweep's part of the report: curves, table, choice, and a contact sheet for each kind of guidance.

    summary of all settings -> points -> choice -> sweep.parquet, plots/sweep*.svg
    manifests of their jobs -> sheet-<guidance>.jpg      rows: subjects, columns: scales, the same noise in a row

Knows the jobs' manifests; the numbers come from `dreamcache.evaluation`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from PIL import Image

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import ImageError
from dreamcache.core.images import decode_image
from dreamcache.evaluation.sheet import sheet
from dreamcache.evaluation.summary import Summary
from dreamcache.evaluation.sweep import ChoiceRule, Point, choose, sweep_charts, sweep_note, sweep_table
from dreamcache.storage.photos import read_photo
from jobs.evaluate.spec import EvalSpec, SweepSpec
from jobs.output.folder import OutputFolder
from jobs.output.reader import outputs

CELL = 128
GREY = (235, 235, 235)


class SweepReport:
    """All that a sweep adds to a report."""

    def __init__(self, spec: EvalSpec, sweep: SweepSpec, summary: Summary) -> None:
        means = {mean.method: mean for mean in summary.methods}
        self._spec, self._sweep, self._metrics = spec, sweep, summary.metrics
        self._rule = ChoiceRule(image=sweep.image_metric, text=sweep.text_metric, within=sweep.within)
        self.points = [
            Point(guidance=setting.guidance, scale=setting.scale, mean=means[setting.name])
            for setting in sweep.settings()
        ]
        self.chosen = choose(self.points, self._rule)

    @property
    def note(self) -> str:
        return sweep_note(self._rule, self.chosen)

    def table(self) -> pa.Table:
        return sweep_table(self.points, self._metrics, self.chosen)

    def charts(self) -> dict[str, str]:
        """SVG by file name."""
        return sweep_charts(self.points, self._rule, self.chosen)

    def sheets(self) -> Iterator[tuple[str, bytes]]:
        """(file name, JPEG) of each guidance: `sweep.sheet` subjects, each with another of the prompts."""
        lines = dict(zip((s.name for s in self._sweep.settings()), self._spec.lines(), strict=True))
        for guidance in dict.fromkeys(point.guidance for point in self.points):
            own = [point for point in self.points if point.guidance == guidance]
            columns = [
                _shown(self._spec.job_of(lines[point.name]).output, self._sweep.sheet) for point in own
            ]
            cells = [
                [
                    _picture(row["image"], row["hosts"]),
                    *(_picture(column[number]["uri"]) for column in columns),
                ]
                for number, row in enumerate(columns[0])
            ]
            captions = [f"{row['subject_id']}: {row['prompt']}" for row in columns[0]]
            titles = ["reference", *(f"{guidance} {point.scale:g}" for point in own)]
            out = io.BytesIO()
            sheet(cells, titles, captions, cell=CELL).save(out, "JPEG", quality=85, optimize=True)
            yield f"sheet-{guidance}.jpg", out.getvalue()


def _shown(output: str, subjects: int) -> list[dict[str, Any]]:
    """A row of the manifest for each of the first subjects; the prompts go round."""
    by_subject: dict[str, list[dict[str, Any]]] = {}
    folder = OutputFolder(output)
    roots = folder.photo_roots()
    for row in outputs(output).to_pylist():
        if row["sample"] == 0:
            # By key and roots: the manifest's columns may name any file.
            photo = row["image"] if row["image"] and roots.allows(row["image"]) else None
            shown = {**row, "uri": folder.image_uri(row), "image": photo, "hosts": roots.hosts}
            by_subject.setdefault(row["subject_id"], []).append(shown)
    first = list(by_subject.values())[:subjects]
    return [rows[number % len(rows)] for number, rows in enumerate(first)]


def _picture(uri: str | None, hosts: Sequence[CatalogHost] = ()) -> Image.Image:
    """Grey where there is none."""
    if uri is not None:
        try:
            data = read_photo(uri, f"image '{uri}'", ImageLimits(), hosts)
            return decode_image(data, where=f"image '{uri}'", limits=ImageLimits())
        except ImageError:
            pass
    return Image.new("RGB", (CELL, CELL), GREY)
