"""One export for a channel from beginning to end. Knows the order of steps; knows nothing of how each is done.

    rows -> (threads) read, render, encode -> sign, name, measure, judge -> (threads) written | report.csv -> feed

Memory holds a window of images, the names, and the entries of one subject.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from dreamcache.core.errors import ImageError, SigningError, SpecError
from dreamcache.core.images import decode_image, on_white
from dreamcache.core.parallel import map_ordered
from dreamcache.storage.json_object import JsonObject
from dreamcache.storage.open_store import open_store
from dreamcache.storage.temporary import temporary_folder
from jobs.channels.check import Breach, breaches, problem, refuses
from jobs.channels.facts import LIMITS, measure
from jobs.channels.feed import Entry, Feed, FeedFile, address
from jobs.channels.marks import ChannelMarks, Signer, marks_of
from jobs.channels.options import ChannelExport, ChannelOptions, published
from jobs.channels.preset import Preset
from jobs.channels.render import encoded, in_frame
from jobs.channels.report import ChannelReport
from jobs.export.fetch import read_image
from jobs.export.names import Layout
from jobs.export.progress import ExportProgress
from jobs.export.rows import Rows
from jobs.export.target import check_target

REPORT = "report"
THREADS = max(1, min(4, os.cpu_count() or 1))
WRITERS = 16
Row = JsonObject


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rendered:
    """An image in the channel's frame, not signed yet; or why there is none."""

    row: Row
    data: bytes = b""
    marks: ChannelMarks | None = None
    problem: str = ""


def export_channel(
    output: str,
    target: str,
    preset: Preset,
    *,
    where: Mapping[str, str] | None = None,
    options: ChannelOptions = ChannelOptions(),
) -> ChannelExport:
    """Exports what is done of the job at `output` as the preset's channel wants it, with feed and report.

    Raises SpecError, SigningError for a certificate that cannot be used, StorageError. An image that breaks a rule
    costs only itself.
    """
    started = time.monotonic()
    check_target(output, target)
    every = Rows(output, where or {})
    statuses = every.statuses()
    with temporary_folder("channel") as place:
        with ChannelReport(place / f"{REPORT}.csv", preset) as report:
            run = _Export(every.with_status("done"), output, target, preset, options, report)
            rows = run.all(place, total=statuses.pop("done", 0))
        feed = preset.feed.file if preset.feed and rows is not None and not options.dry_run else None
        result = ChannelExport(
            target=target,
            channel=preset.channel,
            **report.counts,
            feed=feed,
            feed_rows=rows,
            breaches=dict(report.by_rule.most_common()),
            first=tuple(report.first),
            skipped=dict(sorted(statuses.items())),
            num_bytes=run.num_bytes,
            seconds=round(time.monotonic() - started, 1),
        )
        _publish(target, place, report, result)
    return result


def _publish(target: str, place: Path, report: ChannelReport, result: ChannelExport) -> None:
    """Feed and report, once every image is there."""
    store = open_store(target)
    if result.feed is not None:
        store.upload(result.feed, place / result.feed)
    store.upload(f"{REPORT}.csv", place / f"{REPORT}.csv")
    summary = {
        **report.summary(),
        **{name: getattr(result, name) for name in ("feed", "feed_rows", "skipped")},
    }
    store.write(f"{REPORT}.json", (json.dumps(summary, indent=1, ensure_ascii=False) + "\n").encode())


class _Export:
    """The steps of one export, and what they share."""

    def __init__(
        self,
        rows: Rows,
        output: str,
        target: str,
        preset: Preset,
        options: ChannelOptions,
        report: ChannelReport,
    ) -> None:
        self.rows, self.preset, self.options, self.report = rows, preset, options, report
        self.layout = Layout(preset.layout, (*rows.columns, "position"))
        self.source, self.store = open_store(output), open_store(target)
        self.signer = Signer(options.c2pa, unsigned=options.unsigned)
        has_feed = preset.feed is not None and options.base_url is not None
        self.feed = Feed(preset.feed, preset, rows.columns) if preset.feed and has_feed else None
        self.max_bytes = None if (most := preset.most("num_bytes")) is None else int(most)
        self.num_bytes = 0
        self._base_url = published(options.base_url)
        self._subject: str | None = None
        self._entries: list[Entry] = []
        self._closed: set[int] = set()
        self._names: set[int] = set()

    def all(self, place: Path, *, total: int) -> int | None:
        """Works through all rows. Returns the feed's number of rows, None without one."""
        progress = ExportProgress(total, quiet=self.options.quiet)
        rendered = map_ordered(self._render, self._wanted(progress), threads=THREADS, name="channel")
        written = map_ordered(
            self._write, self._judged(rendered, progress), threads=WRITERS, name="channel-write"
        )
        with progress:
            if self.feed is None:
                for _ in written:
                    pass
                return None
            with FeedFile(
                place / self.feed.spec.file, self.feed, self.preset.title, link=self._base_url or ""
            ) as file:
                for _, entries in groupby(written, key=lambda entry: str(entry.row["subject_id"])):
                    file.add(list(entries))
            return file.num_rows

    def _wanted(self, progress: ExportProgress) -> Iterator[Row]:
        """Rows whose subject may still need images; the others are surplus without being rendered."""
        for row in self.rows:
            if str(row["subject_id"]) == self._subject and len(self._entries) >= self.preset.max_images:
                self.report.add(row, "surplus", "", ())
                progress.add(0)
            else:
                yield row

    def _render(self, row: Row) -> _Rendered:
        try:
            data = read_image(self.source, row)
            marks = self.signer.checked(data, marks_of(data, str(row["key"]).rpartition(".")[2]), row)
            image = on_white(decode_image(data, where=str(row["key"]), limits=LIMITS))
            cut_out = self.options.cut_out
            subject = cut_out(image, str(row.get("class_name") or "")) if cut_out is not None else None
            framed = in_frame(image, self.preset.frame, upscale=self.options.upscale, subject=subject)
            images = self.preset.frame.images
            return _Rendered(
                row=row,
                data=encoded(framed, images, marks.metadata, marks.packet, self.max_bytes),
                marks=marks,
            )
        except ImageError as error:
            return _Rendered(row=row, problem=str(error))

    def _judged(
        self, rendered: Iterator[_Rendered], progress: ExportProgress
    ) -> Iterator[tuple[Entry, str, bytes]]:
        """The accepted images with their names; all others are in the report."""
        for one in rendered:
            progress.add(len(one.data))
            row = one.row
            self._begin(str(row["subject_id"]))
            if one.marks is None:
                lost = problem("image", "readable", one.problem)
                self.report.add(row, "lost", "", (lost,))
                self.report.note_refusal(row, (lost,))
                continue
            if len(self._entries) >= self.preset.max_images:
                self.report.add(row, "surplus", "", ())
                continue
            name, data, found = self._measured(one, one.marks)
            if refuses(found):
                self.report.add(row, "refused", name, found)
                self.report.note_refusal(row, found)
                continue
            self.report.add(row, "accepted", name, found)
            self._names.add(hash(name.casefold()))
            self.num_bytes += len(data)
            yield self._entries[-1], name, data

    def _begin(self, subject: str) -> None:
        if subject == self._subject:
            return
        if hash(subject) in self._closed:
            raise SpecError(
                f"manifest: rows of subject '{subject}' must follow each other, got others between them; 'dreamcache "
                "run' writes it anew"
            )
        self._closed.add(hash(subject))
        self._subject, self._entries = subject, []

    def _measured(self, one: _Rendered, marks: ChannelMarks) -> tuple[str, bytes, list[Breach]]:
        """(name, signed file, broken rules); the image is the last of `_entries` if none refuses it."""
        images, position = self.preset.frame.images, len(self._entries) + 1
        name = self.layout.name_of({**one.row, "key": f"x.{images.extension}", "position": position})
        try:
            data = self.signer.sign(one.data, marks, images.format)
            found = breaches(measure(data, name), self.preset.rules)
        except SigningError as error:
            if error.code != "not_signed":
                raise
            return name, b"", [problem("c2pa", "signed by this operator", str(error))]
        except ImageError as error:
            return name, b"", [problem("image", "readable", str(error))]
        if hash(name.casefold()) in self._names:
            found.append(problem("name", "a name of its own", name))
        entry = Entry(row=one.row, url=address(self._base_url, name) if self._base_url else "")
        if self.feed is not None:
            found += self.feed.breaches([*self._entries, entry], len(self._entries))
        if not refuses(found):
            self._entries.append(entry)
            if self.feed is not None:
                self.feed.claim(self._entries, len(self._entries) - 1)
        return name, data, found

    def _write(self, accepted: tuple[Entry, str, bytes]) -> Entry:
        entry, name, data = accepted
        if not self.options.dry_run:
            self.store.write(name, data)
        return entry
