"""Host cost of a step counted instead of timed: the same on a busy machine as on an idle one.

    an arm in few and in many steps -> operations dispatched by torch, calls of Python -> of one step, ratio to plain

What does not grow with the steps, e.g. projections, cancels out. Knows the arms of `host`; knows no clock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dreamcache.inference.speed.host import PLAIN, Arm, arms
from dreamcache.inference.speed.shapes import FEW_CHANNELS, Size
from dreamcache.storage.json_object import JsonObject

FEW, MANY = 4, 12
"""Steps; savings of every second step are whole in both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOperations:
    """Of a step of one arm. dispatched: operations of torch; calls: of Python functions and of C functions.

    dispatched_ratio, calls_ratio: to plain diffusers.
    """

    dispatched: float
    calls: float
    dispatched_ratio: float
    calls_ratio: float

    def as_dict(self) -> JsonObject:
        return asdict(self)


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def dispatched(work: Callable[[], object]) -> int:
    """Operations that torch dispatches in one call."""
    with _Dispatched() as mode:
        work()
    return int(mode.count)


def calls(work: Callable[[], object]) -> int:
    """Calls of Python and C functions in one call, in this thread."""
    count = 0

    def see(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def count_operations(size: Size = FEW_CHANNELS) -> dict[str, StepOperations]:
    """Of every arm of `host`, batch 1; counts repeat exactly."""
    few, many = (arms(size, steps=steps, batch=1, dtype=torch.float32, device="cpu") for steps in (FEW, MANY))
    measured = {name: (_a_step(dispatched, few, many, name), _a_step(calls, few, many, name)) for name in few}
    plain = measured[PLAIN]
    return {
        name: StepOperations(
            dispatched=operations,
            calls=python,
            dispatched_ratio=operations / plain[0],
            calls_ratio=python / plain[1],
        )
        for name, (operations, python) in measured.items()
    }


def _a_step(
    count: Callable[[Callable[[], object]], int], few: Mapping[str, Arm], many: Mapping[str, Arm], name: str
) -> float:
    counted = []
    for one in (few, many):
        one[name]()  # projections and tables are there from here on
        counted.append(count(one[name]))
    return (counted[1] - counted[0]) / (MANY - FEW)
