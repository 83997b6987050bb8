"""What a check is, and running trials so that one that raises or hangs does not hide the others. Knows no job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dreamcache.core.errors import DreamCacheError

State = Literal["ok", "warn", "fail", "skip"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of a trial. remedy: what to do about it, empty for nothing."""

    state: State
    finding: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """Something to try: `attempt` returns a verdict; DreamCacheError and all else it raises is a failed check."""

    name: str
    attempt: Callable[[], Verdict]
    limit_s: float = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A trial's end. seconds: how long it took."""

    name: str
    state: State
    finding: str
    remedy: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(finding: str) -> Verdict:
    """As it should be."""
    return Verdict(state="ok", finding=finding)


def warn(finding: str, remedy: str) -> Verdict:
    """A job can run, though not well."""
    return Verdict(state="warn", finding=finding, remedy=remedy)


def fail(finding: str, remedy: str) -> Verdict:
    """A job cannot run, or not soundly."""
    return Verdict(state="fail", finding=finding, remedy=remedy)


def skip(finding: str, remedy: str = "") -> Verdict:
    """Not tried."""
    return Verdict(state="skip", finding=finding, remedy=remedy)


def run_trials(trials: Iterable[Trial]) -> Iterator[Check]:
    """One check per trial, in order, as each ends. A trial over its limit is left behind in its thread."""
    for trial in trials:
        started = time.monotonic()
        verdicts: list[Verdict] = []
        thread = threading.Thread(
            target=lambda t=trial, v=verdicts: v.append(_tried(t)), name=trial.name, daemon=True
        )
        thread.start()
        thread.join(trial.limit_s)
        verdict = verdicts[0] if verdicts else _too_slow(trial)
        yield Check(
            name=trial.name,
            state=verdict.state,
            finding=verdict.finding,
            remedy=verdict.remedy,
            seconds=round(time.monotonic() - started, 2),
        )


def _tried(trial: Trial) -> Verdict:
    try:
        return trial.attempt()
    except DreamCacheError as error:
        finding, _, remedy = str(error).rpartition("; ")
        return fail(finding or remedy, remedy if finding else "")
    except Exception as error:  # noqa: BLE001 - whatever a trial raises, the others are still to be heard
        return fail(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", "")


def _too_slow(trial: Trial) -> Verdict:
    return fail(f"no answer within {trial.limit_s:g} s", "check the network, the address and the load")
