"""status.json: how a run stands, for people and programs that do not watch it. One type, its writer and its reader.

    job, evaluation, synthesis, training -> Status -> <output>/status.json -> `dreamcache status` and `list`, budgets

Knows the file's format; knows nothing of what runs, of Ray or of terminals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from dreamcache.core.errors import StorageError
from dreamcache.core.texts import shown
from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.driver import Driver
from dreamcache.storage.json_object import MAX_BYTES, parse_object
from dreamcache.storage.open_store import join, open_store, store_for

STATUS_FILE = "status.json"
FORMAT = 3
OLDER_FORMATS = (2,)
"""Read by the same rules: what they lack is unknown. Format 1 has a reader of its own."""

HEARTBEAT_S = 10.0
"""A run that has not ended writes its status at least so often."""

Kind = Literal["job", "evaluation", "synthesis", "training", "ablation"]
State = Literal["starting", "running", "stopping", "stopped", "failed", "finished"]
"""As the run records it; a run whose driver died is "lost" for who looks (see `run_state`)."""
KINDS: tuple[Kind, ...] = get_args(Kind)
STATES: tuple[State, ...] = get_args(State)
ENDED: tuple[State, ...] = ("stopped", "failed", "finished")
COUNTED = ("done", "blocked", "failed")
"""How one unit of work ends."""


class NewerStatusError(StorageError):
    """A later release wrote the status: a run of this one must not write over it."""

    code = "bad_status"


class _NewerFormatError(ValueError):
    """A format that this release does not know yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """One run. total: units of work of the whole plan; counts: units that have ended in all runs, by how (COUNTED).
    this_run: the same of this run alone, with its `total`; nothing where it is not counted apart.

    Times are ISO 8601 in UTC. unit: what is counted (images, parts, steps). stage: of a synthesis. rate: how many
    `rate_unit` (images/s) the run does now; eta_s: seconds to its end, as far as known. startup_s: seconds until the
    first worker was ready, so far while none is; first_batch_s: from then to the first outcome, None before.
    address: the Ray cluster, None where the run started its own. exit_reason: why a run stopped or failed.
    driver, heartbeat_at: whose run it is, and its last sign of life. details: what only this kind has.
    """

    kind: Kind
    name: str
    state: State
    started_at: str
    updated_at: str
    unit: str = "images"
    stage: str | None = None
    total: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    rate: float = 0.0
    rate_unit: str = "images/s"
    eta_s: float | None = None
    notes: tuple[str, ...] = ()
    address: str | None = None
    exit_reason: str | None = None
    this_run: Mapping[str, int] = field(default_factory=dict)
    startup_s: float | None = None
    first_batch_s: float | None = None
    driver: Driver | None = None
    heartbeat_at: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, allowed in (("kind", self.kind, KINDS), ("state", self.state, STATES)):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
        times = [datetime.fromisoformat(time) for time in (self.started_at, self.updated_at)]  # or ValueError
        if self.heartbeat_at is not None:
            datetime.fromisoformat(self.heartbeat_at)
        if (times[0].tzinfo is None) != (times[1].tzinfo is None):
            raise ValueError("started_at and updated_at must both have a time zone")

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    @property
    def ended(self) -> int:
        """Units with an outcome, whatever it is."""
        return sum(self.counts.values())

    @property
    def failed(self) -> int:
        """Units that ended without a result: failed and blocked."""
        return self.counts.get("failed", 0) + self.counts.get("blocked", 0)

    @property
    def remaining(self) -> int:
        """Units without an outcome; none where a plan that has become smaller is not counted anew yet."""
        return max(0, self.total - self.ended)

    @property
    def done(self) -> int:
        return self.counts.get("done", 0)

    @property
    def elapsed_s(self) -> float:
        return (
            datetime.fromisoformat(self.updated_at) - datetime.fromisoformat(self.started_at)
        ).total_seconds()

    def as_dict(self) -> dict[str, Any]:
        """What the file holds, and what `--json` prints. A run that has ended has no ETA."""
        counts = {name: self.counts.get(name, 0) for name in COUNTED}
        derived = {"remaining": self.remaining, "elapsed_s": self.elapsed_s}
        eta_s = None if self.has_ended else self.eta_s
        return {"format": FORMAT, **asdict(self), "counts": counts, "eta_s": eta_s, **derived}


def now() -> str:
    """This moment as a Status states it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_status(output: str, status: Status) -> None:
    """Replaces <output>/status.json. Raises StorageError."""
    store_for(output).write(join(output, STATUS_FILE), status_bytes(status))


def status_bytes(status: Status) -> bytes:
    """The file of a status."""
    text = json.dumps(status.as_dict(), indent=1, ensure_ascii=False, sort_keys=True, default=str)
    return (text + "\n").encode("utf-8", "backslashreplace")


def read_status(output: str) -> Status | None:
    """The status in an output folder, None when there is none.

    Raises StorageError `bad_status` for a file that is no status, or one of a newer version.
    """
    uri = join(output, STATUS_FILE)
    try:
        data = open_store(output).read(STATUS_FILE, MAX_BYTES)
    except FileNotFoundError:
        return None
    except (TooLarge, NotRegular, IsFolder) as error:
        raise StorageError(f"{error}; a run writes it anew once it is deleted", code="bad_status") from error
    try:
        value = parse_object(data)
        return parse_status(value)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        kind = NewerStatusError if isinstance(error, _NewerFormatError) else StorageError
        raise kind(
            f"{uri}: must be the status of a run in format 1 to {FORMAT}, got {type(error).__name__}: {error}; "
            f"read it with the version of dreamcache that wrote it, or delete it: a run writes it anew",
            code="bad_status",
        ) from error


def parse_status(value: Mapping[str, Any]) -> Status:
    """The status that a file's JSON states. Raises ValueError, TypeError or KeyError for anything else."""
    version = value.get("format", 1)
    if version == 1:
        return _of_format_1(value)
    if version != FORMAT and version not in OLDER_FORMATS:
        is_newer = isinstance(version, int) and version > FORMAT
        raise (_NewerFormatError if is_newer else ValueError)(f"format {shown(version)}")
    names = {item.name for item in fields(Status)}
    known = {name: item for name, item in value.items() if name in names}
    driver = known.get("driver")
    known["driver"] = None if driver is None else _driver(driver)
    return _checked(Status(**{**known, "notes": tuple(known.get("notes", ()))}))


def _driver(value: Mapping[str, Any]) -> Driver:
    """Of a file. Keys that this release does not know are passed over. ValueError or TypeError for no driver."""
    return Driver(**{name: value[name] for name in (item.name for item in fields(Driver)) if name in value})


def _checked(status: Status) -> Status:
    """The status of a file, whose values have the types that its readers rely on. Raises ValueError."""
    texts = [status.name, status.unit, status.rate_unit, *status.notes]
    texts += [text for text in (status.stage, status.address, status.exit_reason) if text is not None]
    numbers = [status.total, *status.counts.values(), *status.this_run.values()]
    spent = status.details.get("spent") or {}
    optional = (status.eta_s, status.startup_s, status.first_batch_s)
    reals = [status.rate, *spent.values(), *(value for value in optional if value is not None)]
    rules = (
        ("texts must be texts", all(isinstance(text, str) for text in texts)),
        ("counts must be whole numbers of 0 or more", all(map(_is_count, numbers))),
        ("rate, durations and spent must be finite numbers of 0 or more", all(map(_is_amount, reals))),
    )
    for rule, holds in rules:
        if not holds:
            raise ValueError(rule)
    return status


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15


MOVED = (
    "job",
    "kind",
    "state",
    "this_run",
    "updated_at",
    "notes",
    "stage",
    "message",
    "images_per_s",
    "eta_s",
)
"""Keys of format 1 that a Status has under its own names."""


def _of_format_1(value: Mapping[str, Any]) -> Status:
    """Before format 2 each kind of run had a shape of its own: counts in `this_run`, a training's at the top."""
    kind = value.get("kind", "job")
    run = value.get("this_run") or {}
    counts = {name: int(run.get(name, 0)) for name in COUNTED}
    details = {name: item for name, item in value.items() if name not in MOVED}
    total = int(run.get("total", 0))
    if kind == "training":
        counts, total = {"done": int(details.pop("step"))}, int(details.pop("steps"))
    if "counts" in run:
        details["plan_counts"] = run["counts"]
    return _checked(
        Status(
            kind=kind,
            name=value["job"],
            state=value["state"],
            started_at=value["updated_at"],
            updated_at=value["updated_at"],
            unit={"synthesis": "parts", "training": "steps"}.get(kind, "images"),
            stage=value.get("stage"),
            total=total,
            counts=counts,
            rate=float(run.get("images_per_s", value.get("images_per_s", 0.0))),
            rate_unit="parts/s" if kind == "synthesis" else "images/s",
            eta_s=run.get("eta_s", value.get("eta_s")),
            notes=tuple(value.get("notes", ())),
            exit_reason=value.get("message") or None,
            details=details,
        )
    )
