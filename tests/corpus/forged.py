"""Forged files: a good output folder in which someone has written names of their own. Nothing outside may be touched.

Checksums are right, as whoever can write the folder can compute them. CANARY lies beside the folder; `{canary}` in a
name stands for its path. An input changes the output at `folder` and returns the file that it changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dreamcache.storage.ledger import LEDGER_LOG
from dreamcache.storage.pruned import PRUNED_LOG
from tests.corpus.kind import USED, Kind, Write

CANARY = "canary.png"
ID = "ab" * 32
Rows = list[dict[str, Any]]

PATHS = {
    "above": f"../{CANARY}",
    "two above": f"../../{CANARY}",
    "out and in": f"images/../../{CANARY}",
    "absolute": "{canary}",
    "file URI": "file://{canary}",
    "S3 URI": "s3://bucket/canary.png",
    "backslashes": f"..\\{CANARY}",
    "drive": "C:\\Windows\\win.ini",
    "drive and slash": "C:/Windows/win.ini",
    "NUL": f"../{CANARY}\0.png",
    "home": "~/.ssh/id_rsa",
    "new line": f"images/ab/\n../../../{CANARY}",
}
"""Names that lead out of a folder on some system."""

OURS = {
    "job file": "job.yaml",
    "manifest": "manifest.json",
    "by dots": "images/../job.yaml",
    "by a dot": "./job.yaml",
    "doubled slash": "images//ab/x.png",
    "the folder": "images/",
    "nothing": "",
    "an image of none": "images/ab/x.png",
    "a part": "ledger/part-x.parquet",
    "another format": f"images/ab/{ID}.exe",
    "another shard": f"images/cd/{ID}.png",
}
"""Names below the folder that are no item's image."""


def filled(name: str, folder: Path) -> str:
    return name.replace("{canary}", str(folder.parent / CANARY))


def read(path: Path) -> Rows:
    rows: Rows = pq.read_table(path).to_pylist()
    return rows


def changed(path: Path, change: Callable[[Rows], None]) -> Path:
    """The Parquet file with its rows changed."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    return path


def in_manifest(**values: str) -> Write:
    """The manifest's first row with these values, and the canary's size, so that only the name is wrong."""

    def write(folder: Path) -> Path:
        size = (folder.parent / CANARY).stat().st_size
        new = {name: filled(value, folder) for name, value in values.items()}
        return changed(folder / "manifest.parquet", lambda rows: rows[0].update(new, num_bytes=size))

    return write


def in_plan(**values: str) -> Write:
    def write(folder: Path) -> Path:
        new = {name: filled(value, folder) for name, value in values.items()}
        return changed(folder / "plan" / "part-00000.parquet", lambda rows: rows[0].update(new))

    return write


def other_items_key(extension: str, shift: int = 1) -> Write:
    """The first row with the key of another one."""

    def write(folder: Path) -> Path:
        def change(rows: Rows) -> None:
            rows[0]["key"] = str(rows[shift % len(rows)]["key"]).replace(".png", extension)

        return changed(folder / "manifest.parquet", change)

    return write


def image_link(target: str) -> Write:
    """The first row's image replaced by a link of the same size as the record's."""

    def write(folder: Path) -> Path:
        key = read(folder / "manifest.parquet")[0]["key"]
        to = Path(filled(target, folder))
        (folder / key).unlink()
        os.symlink(to, folder / key)
        if to.is_file():
            size = to.stat().st_size
            changed(folder / "manifest.parquet", lambda rows: rows[0].update(num_bytes=size))
        return folder / str(key)

    return write


def ledger_part(item_id: str, key: str, name: str = "ledger/part-forged.parquet") -> Write:
    """One more record of an image that is done, in a part that is sealed as ours are."""

    def write(folder: Path) -> Path:
        part = sorted((folder / "ledger").glob("part-*.parquet"))[0]
        table, _ = LEDGER_LOG.format.unseal(part.read_bytes())
        row = {**table.to_pylist()[0], "item_id": filled(item_id, folder), "key": filled(key, folder)}
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LEDGER_LOG.format.seal(pa.Table.from_pylist([row], schema=table.schema)))
        return path

    return write


def prune_list(key: str, item_id: str = ID) -> Write:
    """An announcement that is not finished: the next prune deletes what it names."""

    def write(folder: Path) -> Path:
        row = {"item_id": item_id, "key": filled(key, folder), "attempts": 101}
        path = folder / "ledger" / "pruned-forged.parquet"
        table = pa.Table.from_pylist([row], schema=PRUNED_LOG.format.schema)
        path.write_bytes(PRUNED_LOG.format.seal(table))
        return path

    return write


def latest(name: str, *, as_file: bool) -> Write:
    """checkpoints/latest.json that names this file as the newest, or as one of those to be deleted."""

    def write(folder: Path) -> Path:
        good, bad = "step-0000001.safetensors", filled(name, folder)
        value = {"step": 1, "file": bad if as_file else good, "sha256": "0" * 64, "course": {}}
        path = folder / "checkpoints" / "latest.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**value, "files": [good] if as_file else [bad, good]}))
        return path

    return write


def metadata(name: str, *, csv: bool) -> Write:
    """A training folder whose table names this picture."""

    def write(folder: Path) -> Path:
        path = folder / ("metadata.csv" if csv else "metadata.jsonl")
        text = filled(name, folder)
        row = f'file_name,caption\n"{text}",c\n' if csv else json.dumps({"file_name": text, "caption": "c"})
        path.write_text(row)
        return path

    return write


def further_file(name: str) -> Write:
    """A file that is not ours, in a folder where ours are listed."""

    def write(folder: Path) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not ours")
        return path

    return write


def each(names: dict[str, str], write: Callable[[str], Write]) -> dict[str, Write]:
    return {label: write(name) for label, name in names.items()}


LEADING_OUT = {
    label: name
    for label, name in PATHS.items()
    if label not in ("S3 URI", "drive", "drive and slash", "home")
}
PHOTOS = {
    "beside": "{canary}", "file URI": "file://{canary}", "dots": "{canary}/../canary.png", "system": "/etc/passwd",
    "device": "/dev/zero", "process": "/proc/self/environ", "bucket": "s3://other-team/x.png", "host": "file://host/x.png",
    "web": "http://169.254.169.254/x.png",
}  # fmt: skip
IDS = {
    "dots": "../../x", "absolute": "/etc/passwd", "nothing": "", "slash": "a/b", "dot": ".", "two dots": "..",
    "backslash": "a\\b", "drive": "C:x", "new line": "ab\n", "long": "a" * 200,
}  # fmt: skip
CHECKPOINTS = {
    **PATHS, "latest": "latest.json", "settings": "../train.yaml", "no number": "step-.safetensors",
    "another form": "step-1.safetensors", "a folder": "samples/step-0000001.safetensors", "nothing": "",
}  # fmt: skip
EXTRA = ("notes.txt", "part-00000.parquet.bak", "part-x.parquet", "sub/part-00000.parquet", "part-0.parquet",
         "Part-00001.parquet", ".part-00000.parquet", "part-00000.PARQUET")  # fmt: skip
EXTRA_LEDGER = ("notes.txt", "part-x.parquet.bak", "sub/part-x.parquet", "xpart-1.parquet", ".part-1.parquet",
                "PART-1.parquet", "part-1.PARQUET", "sub/pruned-1.parquet")  # fmt: skip

KINDS = [
    Kind(name="forged/manifest-key", door="output", code="lost", inputs=each(PATHS, lambda n: in_manifest(key=n))),
    Kind(name="forged/manifest-key-of-no-image", door="output", code="lost",
         inputs=each(OURS, lambda n: in_manifest(key=n))),
    Kind(name="forged/manifest-item-id", door="output", code="lost",
         inputs=each({**PATHS, **IDS}, lambda n: in_manifest(item_id=n))),
    Kind(name="forged/manifest-other-items-key", door="output", code="lost",
         inputs={f"{n} {ext}": other_items_key(ext, n) for n in (1, 2, 3) for ext in (".png", ".jpg", ".webp")}),
    Kind(name="forged/image-is-a-link", door="output", code="lost",
         inputs=each({**PHOTOS, "nothing": "/nonexistent", "folder": "/etc"}, image_link)),
    Kind(name="forged/ledger-key", door="output", code="bad_ledger", exit_code=1,
         inputs=each({**PATHS, **OURS}, lambda n: ledger_part(ID, n))),
    Kind(name="forged/ledger-item-id", door="output", code="bad_ledger", exit_code=1,
         inputs=each(IDS, lambda n: ledger_part(n, f"images/{n[:2]}/{n}.png"))),
    Kind(name="forged/prune-key", door="output", code="bad_ledger", exit_code=1, inputs=each(PATHS, prune_list)),
    Kind(name="forged/prune-of-no-image", door="output", code="bad_ledger", exit_code=1,
         inputs=each(OURS, prune_list)),
    Kind(name="forged/checkpoint-newest", door="output", code="unsafe_name", exit_code=1,
         inputs=each(CHECKPOINTS, lambda n: latest(n, as_file=True))),
    Kind(name="forged/checkpoint-to-delete", door="output", code="unsafe_name", exit_code=1,
         inputs=each(CHECKPOINTS, lambda n: latest(n, as_file=False))),
    Kind(name="forged/training-picture", door="output", code="bad_catalog", exit_code=1,
         inputs={f"{label} {csv}": metadata(name, csv=csv == "csv") for label, name in LEADING_OUT.items()
                 for csv in ("csv", "jsonl") if not (csv == "csv" and "\0" in name)}),
    Kind(name="forged/manifest-photo", door="output", code=USED, exit_code=0,
         inputs=each(PHOTOS, lambda n: in_manifest(image=n))),
    Kind(name="forged/manifest-uri", door="output", code=USED, exit_code=0,
         inputs=each(PHOTOS, lambda n: in_manifest(uri=n))),
    Kind(name="forged/plan-photo", door="output", code="outside_roots",
         inputs={**each({k: v for k, v in PHOTOS.items() if k not in ("host", "web")}, lambda n: in_plan(image=n)),
                 **each({"mask": "{canary}", "mask of the system": "/etc/shadow"}, lambda n: in_plan(mask=n))}),
    Kind(name="forged/plan-of-others", door="output", code=USED, exit_code=0,
         inputs={name: further_file(f"plan/{name}") for name in EXTRA}),
    Kind(name="forged/ledger-of-others", door="output", code=USED, exit_code=0,
         inputs={name: further_file(f"ledger/{name}") for name in EXTRA_LEDGER}),
]  # fmt: skip
