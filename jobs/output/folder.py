"""A job's output folder: claimed by one job, with its spec, status, manifest and failure list inside.

    job.yaml  plan/  plan.json  images/  ledger/  manifest.parquet  manifest/  manifest.json  settings.json
    failed.csv  status.json  gallery/

Knows names and order of writing: the manifest comes last. Knows nothing of how images are generated.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from dreamcache.core import ids
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError, StorageError
from dreamcache.core.locations import is_local
from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.item_keys import is_key_of
from dreamcache.storage.json_object import MAX_BYTES, JsonObject, parse_object
from dreamcache.storage.ledger import STATUS_ORDER
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import open_store, read_bounded
from dreamcache.storage.roots import Roots, roots_of
from jobs.output.claim import check_format, claim
from jobs.planning.plan_files import PlanFiles
from jobs.spec import dump_spec
from jobs.yaml_text import parse_yaml

PLAN_PART = re.compile(r"plan/part-\d{5,}\.parquet")
MANIFEST_PART = re.compile(r"manifest/part-\d{5,}\.parquet")
PLAN_FILE = "plan.json"
JOB_MARK = "# Written by 'dreamcache run': the job whose output this folder is.\n"


class OutputFolder:
    """Reads and writes the files of one output folder, local or s3://."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.files = open_store(self.uri)

    def at(self, *parts: str) -> str:
        """The URI of a file or folder of the output."""
        return self.files.at(*parts)

    def claim(self, spec: JobSpec) -> None:
        """Makes the folder this job's. Raises SpecError `other_job` when it is another's or holds other files."""
        claim(self.uri, "job.yaml", kind="job", name=spec.name, mark=JOB_MARK, spec=dump_spec(spec))

    def check_format(self) -> None:
        """Raises StorageError `newer_format` for a folder that a later release wrote."""
        try:
            check_format(self.uri, self.files.read("job.yaml"))
        except FileNotFoundError:
            return  # a copy of the results alone

    def write_plan(self, files: PlanFiles, fingerprint: str = "") -> None:
        """plan/part-*.parquet, sorted as the catalog is, then plan.json, which names the plan. Parts of an earlier
        plan go, and nothing else does."""
        old = set(self.plan_parts())
        new = {f"plan/{part.name}": part for part in files.paths}
        for key, part in new.items():
            self.files.upload(key, part)
        for key in old - set(new):
            self.files.delete(key)
        self.files.write(PLAN_FILE, json_bytes({"fingerprint": fingerprint, "rows": files.num_rows}))

    def plan_fingerprint(self) -> str | None:
        """Of the stored plan; None where an older release wrote it, or plan.json is damaged."""
        try:
            stored = self.read_json(PLAN_FILE)
        except StorageError as error:
            if error.code != "bad_manifest":
                raise
            return None
        fingerprint = (stored or {}).get("fingerprint")
        return fingerprint if isinstance(fingerprint, str) else None

    def plan_version(self) -> list[tuple[str, str]]:
        """Changes whenever a part of the stored plan does."""
        parts = ((self.files.key_of(info.uri), info.etag) for info in self.files.list("plan"))
        return sorted((key, etag) for key, etag in parts if PLAN_PART.fullmatch(key))

    def ledger_version(self) -> str:
        """Changes with every record: a hash of the names of all files in ledger/, which never change themselves."""
        names = sorted(self.files.key_of(info.uri) for info in self.files.list("ledger"))
        return ids.of_values("ledger-version", names=names)

    def manifest_parts(self) -> list[str]:
        """Keys of the manifest's parts, in order; none where the manifest is one file."""
        keys = (self.files.key_of(info.uri) for info in self.files.list("manifest"))
        return sorted(key for key in keys if MANIFEST_PART.fullmatch(key))

    def plan_parts(self) -> list[str]:
        """Keys of the plan's parts, in order; other files there are passed over."""
        keys = (self.files.key_of(info.uri) for info in self.files.list("plan"))
        return sorted(key for key in keys if PLAN_PART.fullmatch(key))

    def photo_roots(self) -> Roots:
        """Where the job of this folder may read photos, by its job.yaml; nowhere when there is none."""
        try:
            values = parse_yaml(self.files.read("job.yaml"), self.at("job.yaml"))
        except (FileNotFoundError, SpecError):
            return Roots()
        names = ("catalog", "catalog_roots", "catalog_hosts")
        catalog, roots, hosts = (values.get(name) if isinstance(values, dict) else None for name in names)
        if not isinstance(catalog, str) or not catalog or not isinstance(roots, list | None):
            return Roots()
        try:
            return roots_of(
                catalog, [root for root in roots or () if isinstance(root, str)], _hosts_of(hosts)
            )
        except SpecError:
            return Roots()

    def own_roots(self) -> Roots:
        """Where a page that is written into this folder may read photos, if nothing but the folder says so.

        Whoever may write into the folder may have written its job.yaml, to see photos of the reader's. So what a local
        job.yaml of this user or of root names, as git trusts folders; below the folder itself otherwise.
        """
        if is_local(self.uri):
            return self.photo_roots() if _is_own_file(local_path(self.at("job.yaml"))) else Roots()
        return Roots(prefixes=(f"{self.uri}/",))

    def image_uri(self, row: Mapping[str, Any]) -> str | None:
        """Where the image of a manifest's row lies; None where its key is not that of its item, or it has none."""
        return self.at(row["key"]) if is_key_of(row["key"], row["item_id"]) else None

    def read_json(self, name: str) -> JsonObject | None:
        """The file's object, None when there is none yet. Raises StorageError `bad_manifest` for a damaged file."""
        try:
            return parse_object(read_bounded(self.at(name), MAX_BYTES))
        except FileNotFoundError:
            return None
        except (ValueError, TooLarge, NotRegular, IsFolder) as error:
            raise self._damaged(name, error) from error

    def read_summary(self) -> JsonObject | None:
        """`read_json` of manifest.json, whose values have the types that readers rely on."""
        summary = self.read_json("manifest.json")
        try:
            _check_summary(summary or {})
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged("manifest.json", error) from error
        except KeyError as error:
            raise self._damaged("manifest.json", ValueError(f"lacks {error}")) from error
        return summary

    def _damaged(self, name: str, error: Exception) -> StorageError:
        return StorageError(
            f"{self.at(name)}: must be what a run wrote, got one that {error}; 'dreamcache run' writes it anew",
            code="bad_manifest",
        )

    def write_failed(self, path: Path) -> None:
        """failed.csv: what a merchandiser reads; one line per item without an image."""
        self.files.upload("failed.csv", path)

    def manifest_version(self) -> str | None:
        """Of manifest.json, None when there is none yet."""
        info = self.files.stat("manifest.json")
        return info.etag if info else None

    def write_manifest(
        self, path: Path, summary: JsonObject, before: str | None, *, parts: Sequence[Path] = ()
    ) -> bool:
        """manifest/part-* if there are parts, manifest.parquet, then manifest.json, which says that they are whole.

        before: the `manifest_version` when the summary's facts were read. False, and manifest.json is left as it is,
        when it is another one now.
        """
        if self.manifest_version() != before:
            return False
        new = {f"manifest/{part.name}": part for part in parts}
        for key, part in new.items():
            self.files.upload(key, part)
        for key in set(self.manifest_parts()) - set(new):
            self.files.delete(key)
        self.files.upload("manifest.parquet", path)
        return self.files.replace("manifest.json", json_bytes(summary), before)

    def write_file(self, key: str, data: bytes) -> None:
        self.files.write(key, data)


def _is_own_file(path: Path) -> bool:
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid in (os.geteuid(), 0)


def _hosts_of(entries: object) -> tuple[CatalogHost, ...]:
    """`catalog_hosts` of a job.yaml; none where anything in it is no host, since the file may come from anyone."""
    try:
        return tuple(TypeAdapter(list[CatalogHost]).validate_python(entries or []))
    except (ValidationError, ValueError):
        return ()


def _check_summary(summary: JsonObject) -> None:
    """Raises ValueError, TypeError, KeyError or AttributeError unless the values that readers rely on are there."""
    if summary and not isinstance(summary["job"], str):
        raise ValueError("has a job without a name")
    if summary and not set(STATUS_ORDER) <= set(summary["counts"]):
        raise ValueError("lacks the count of a status")
    counts = [*summary.get("counts", {}).values(), *([summary["subjects"]] if "subjects" in summary else [])]
    if not all(isinstance(count, int) and count >= 0 for count in counts):
        raise ValueError("has counts that are no whole numbers")
    for name in ("base", "adapter"):
        if not isinstance(summary.get(name, {}).get("fingerprint", ""), str):
            raise ValueError(f"has a {name} without fingerprint")


def json_bytes(value: JsonObject) -> bytes:
    """Readable JSON with sorted keys."""
    return (json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
