"""Faults for workers of a test's own cluster: a marked prompt or photo does to its process what its mark says.

`set_up` is a Ray worker setup hook (`runtime_env`): the product has no door for faults.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import numpy as np

MARK = "poison-"


def act(kind: str) -> None:
    """Does what the mark says; raises for what an exception is to say."""
    if kind == "raises":
        raise RuntimeError("a kernel that fails on this prompt")
    if kind == "hangs":
        time.sleep(3600)
    if kind == "hangs-in-c":
        ctypes.PyDLL(None).sleep(3600)  # PyDLL: holds the interpreter
    if kind == "exits":
        os._exit(7)
    if kind == "segfaults":
        ctypes.string_at(0)
    if kind == "allocates":
        kept = []
        while True:
            kept.append(np.ones(32 * 1024 * 1024 // 8))


class PoisonedPipeline:
    """The real pipeline, but for marked prompts."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipe, name)

    def __call__(self, *, prompt: list[str], **settings: Any) -> Any:
        kinds = [kind_of(text) for text in prompt]
        for kind in kinds:
            if kind:
                act(kind)
        output = self._pipe(prompt=prompt, **settings)
        for number, kind in enumerate(kinds):
            if kind == "nan":
                output.images[number] = np.nan
        return output


def kind_of(text: str) -> str | None:
    """The word after the mark."""
    return text.split(MARK, 1)[1].split()[0] if MARK in text else None


def set_up() -> None:
    """Poisons the two actors' classes in a worker process that has just started."""
    from workers.encode import EncodeWorker
    from workers.generate import GenerateWorker

    made, error_of = GenerateWorker.__init__, EncodeWorker._error_of

    def init(self: GenerateWorker, *args: Any) -> None:
        made(self, *args)
        self.generator.pipe = PoisonedPipeline(self.generator.pipe)  # type: ignore[assignment]

    def poisoned_error_of(self: EncodeWorker, request: Any) -> Any:
        kind = kind_of(request.subject_id)
        if kind:
            get = self.references.get
            self.references.get = lambda asked: act(kind) or get(asked)  # type: ignore[method-assign,assignment]
            try:
                return error_of(self, request)
            finally:
                self.references.get = get  # type: ignore[method-assign]
        return error_of(self, request)

    GenerateWorker.__init__ = init  # type: ignore[method-assign]
    EncodeWorker._error_of = poisoned_error_of  # type: ignore[method-assign]
