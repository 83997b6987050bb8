"""Detection over files, folders and URIs, against the ledgers of given jobs. Knows locations; not what a mark is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dreamcache.core.config.provenance import InvisibleMarkSettings, ProvenanceSettings
from dreamcache.core.errors import DreamCacheError, ModelError, SigningError, StorageError
from dreamcache.core.locations import is_local
from dreamcache.core.parallel import map_ordered
from dreamcache.provenance.detect import LIMITS, Detection, Trust, detect
from dreamcache.provenance.invisible import InvisibleMark
from dreamcache.provenance.ledger_index import LedgerIndex, open_index
from dreamcache.storage.bounded import IsFolder
from dreamcache.storage.local import local_path
from dreamcache.storage.open_store import open_store, read_bounded, store_for
from jobs.output.folder import OutputFolder
from jobs.spec import parse_spec
from jobs.yaml_text import parse_yaml

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".gif", ".bmp", ".avif", ".heic", ".jfif")
MAX_PEM = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """What files are compared with. notes: what could not be used, for a person."""

    trust: Trust
    index: LedgerIndex | None
    marks: tuple[InvisibleMark, ...] = ()
    notes: tuple[str, ...] = ()


def open_sources(
    outputs: Sequence[str], *, certificates: Sequence[str] = (), anchors: Sequence[str] = ()
) -> Sources:
    """The ledgers of the jobs at these outputs, and their certificates, with further ones.

    Raises StorageError for a ledger, SigningError for a given certificate that cannot be read.
    """
    notes, chains = [], [_pem("--certificate", location) for location in certificates]
    marks: dict[InvisibleMarkSettings, InvisibleMark] = {}
    for output in outputs:
        settings = _provenance_of(output)
        try:
            if settings.c2pa is not None:
                chains.append(_pem("provenance.c2pa.certificate", settings.c2pa.certificate))
        except SigningError as error:
            notes.append(f"signatures of this operator are not recognized: {error}")
        try:
            if settings.invisible is not None and settings.invisible not in marks:
                marks[settings.invisible] = _opened(settings.invisible)
        except ModelError as error:
            notes.append(f"invisible marks of this operator are not read: {error}")
    trust = Trust(
        anchors="\n".join(_pem("--trust", location) for location in anchors),
        operators=tuple(dict.fromkeys(chains)),
    )
    index = open_index(outputs) if outputs else None
    if index is not None and not len(index):
        notes.append("the ledgers hold no perceptual hashes; images generated before this release have none")
    return Sources(trust=trust, index=index, marks=tuple(marks.values()), notes=tuple(notes))


def detect_all(place: str, sources: Sources) -> Iterator[Detection]:
    """The detection of a file, or of each image below a folder or s3:// prefix, in order of their names.

    Raises StorageError when there is nothing at the place.
    """

    def one(uri: str) -> Detection:
        try:
            data = read_bounded(uri, LIMITS.max_bytes)
        except (DreamCacheError, OSError) as error:
            return Detection(name=uri, problem=str(error))
        return detect(uri, data, trust=sources.trust, index=sources.index, marks=sources.marks)

    yield from map_ordered(one, _files(place), name="detect")


def _files(place: str) -> Iterator[str]:
    is_folder = is_local(place) and local_path(place).is_dir()
    with suppress(IsFolder):
        if not is_folder and store_for(place).stat(place) is not None:
            yield place
            return
    count = 0
    for info in open_store(place).list():
        if Path(info.uri).suffix.lower() in IMAGE_ENDINGS:
            count += 1
            yield info.uri
    if not count:
        raise StorageError(
            f"location '{place}': must be an image, or a folder or prefix with images, has none; correct it",
            code="no_image",
        )


def _opened(settings: InvisibleMarkSettings) -> InvisibleMark:
    mark = InvisibleMark(settings)
    mark.open()
    return mark


def _provenance_of(output: str) -> ProvenanceSettings:
    """The marks that the job of an output names in its job.yaml."""
    folder = OutputFolder(output)
    uri = folder.at("job.yaml")
    try:
        values = parse_yaml(folder.files.read("job.yaml"), uri)
    except FileNotFoundError as error:
        raise StorageError(
            f"output '{output}': has no job.yaml; no job has run there", code="no_job"
        ) from error
    spec = parse_spec(values if isinstance(values, dict) else {}, where=uri)
    return spec.provenance


def _pem(option: str, location: str) -> str:
    try:
        return read_bounded(location, MAX_PEM).decode("ascii")
    except (OSError, DreamCacheError, ValueError) as error:
        raise SigningError(
            f"{option} '{location}': must be a readable PEM file, got '{error}'; correct the location",
            code="bad_certificate",
        ) from error
