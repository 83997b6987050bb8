"""What machines cost: settings by which a job states its money. Knows numbers; knows nothing of clouds or clocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from dreamcache.core.config.fields import NotNegative
from dreamcache.core.config.rules import RuleText, Settings, require

Currency = Annotated[
    str, StringConstraints(pattern=r"^[A-Z]{3}$"), RuleText("three capital letters, such as USD")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Price(Settings):
    """Of one hour of what the workers declare. gpu_hour: of one GPU. cpu_hour: of one CPU; 0 where the GPU's price
    holds the machine's. currency: of both, ISO 4217."""

    gpu_hour: NotNegative = 0
    cpu_hour: NotNegative = 0
    currency: Currency = "USD"

    def check(self) -> None:
        require(
            self.gpu_hour + self.cpu_hour > 0, "gpu_hour, cpu_hour", "more than 0, one of them at least", 0
        )

    def per_hour(self, *, gpus: float, cpus: float) -> float:
        """What workers with so many of both cost an hour."""
        return gpus * self.gpu_hour + cpus * self.cpu_hour
