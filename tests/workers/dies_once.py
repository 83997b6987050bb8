"""A training hook that kills its own worker, as a node's loss would, the first time step 4 is logged."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path


class DiesOnce:
    def __init__(self, output: str) -> None:
        self.mark = Path(output) / "has-died"

    def on_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == 4 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def on_image(self, step: int, name: str, image: object) -> None:
        pass

    def flush(self) -> None:
        pass
