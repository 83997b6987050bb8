"""Which rules of a channel an image breaks, and by how much. Knows rules and facts; opens nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobs.channels.facts import Facts, Value
from jobs.channels.preset import ChannelRule, Level, Measure

UNITS: dict[Measure, str] = {
    "longest_side": "px",
    "shortest_side": "px",
    "megapixels": "megapixels",
    "num_bytes": "bytes",
    "name_length": "characters",
    "frames": "frames",
}
NOT_MEASURED = "not measurable"
TOLERANCE = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Breach:
    """A rule that an image breaks. by: how much is missing or too much, empty for a text."""

    rule: str
    level: Level
    required: str
    measured: str
    by: str = ""

    def __str__(self) -> str:
        by = f" ({self.by})" if self.by else ""
        return f"{self.rule}: must be {self.required}, got {self.measured}{by}"


def breaches(facts: Facts, rules: Iterable[ChannelRule]) -> list[Breach]:
    """Of every rule that is broken, in their order. A fact that cannot be measured breaks its rule."""
    return [breach for rule in rules if (breach := _breach(rule, facts.get(rule.measure))) is not None]


def refuses(found: Iterable[Breach]) -> bool:
    """Whether one of these keeps the image from the channel."""
    return any(breach.level == "required" for breach in found)


def problem(rule: str, required: str, measured: str) -> Breach:
    """Of an image itself, whatever the channel: it is refused."""
    return Breach(rule=rule, level="required", required=required, measured=measured[:300])


def required_text(rule: ChannelRule) -> str:
    """What a rule wants, e.g. "from 500 to 10000 px"."""
    if rule.one_of:
        return " or ".join(rule.one_of)
    unit = f" {UNITS[rule.measure]}" if rule.measure in UNITS else ""
    if rule.min is not None and rule.max is not None:
        return (
            f"{rule.min:.10g}{unit}"
            if rule.min == rule.max
            else f"from {rule.min:.10g} to {rule.max:.10g}{unit}"
        )
    return f"at least {rule.min:.10g}{unit}" if rule.max is None else f"at most {rule.max:.10g}{unit}"


def _breach(rule: ChannelRule, value: Value) -> Breach | None:
    if isinstance(value, str) or value is None:
        if rule.one_of and value in rule.one_of:
            return None
        return Breach(
            rule=rule.name,
            level=rule.level,
            required=required_text(rule),
            measured=NOT_MEASURED if value is None else value,
        )
    unit = f" {UNITS[rule.measure]}" if rule.measure in UNITS else ""
    if rule.min is not None and value < rule.min - TOLERANCE:
        by = f"{_number(rule.min - value)}{unit} too little"
    elif rule.max is not None and value > rule.max + TOLERANCE:
        by = f"{_number(value - rule.max)}{unit} too much"
    else:
        return None
    measured = f"{_number(value)}{unit}"
    return Breach(rule=rule.name, level=rule.level, required=required_text(rule), measured=measured, by=by)


def _number(value: float) -> str:
    """Whole numbers whole; shares with enough digits to differ from their bound."""
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}"
