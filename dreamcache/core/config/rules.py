"""Rules of settings, stated in their types; checked wherever a value is constructed, in Python or from YAML.

    @dataclass class Limits(Settings): max_items: AtLeastOne | None = None
    Limits(max_items=0)  ->  ValueError: max_items must be at least 1, got 0

The types are those of annotated-types and pydantic, so pydantic checks the same rules in a settings file, and JSON
schemas state them. Numbers must be finite everywhere. Knows types and values; knows no setting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MultipleOf
from pydantic import ConfigDict, StringConstraints

from dreamcache.core.texts import shown

FINITE = "a finite number"
MOST_WHOLE = 2**63 - 1
MOST_REAL = 1e15
"""No setting means more: what has more digits is a mistake, or would fill memory or wait for ever."""


@dataclass(frozen=True, slots=True)
class Most:
    """A number's upper bound that is far above what anybody needs, so messages about other rules leave it out."""

    bound: int

    def __get_pydantic_json_schema__(self, schema: Any, handler: Callable[[Any], Any]) -> Any:
        return {**handler(schema), "maximum": self.bound}


@dataclass(frozen=True, slots=True)
class RuleText:
    """The words for a type's rule, where those derived from its bounds are not good enough: `must be <text>`."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """What a value of a type must be, and how a message says it."""

    text: str
    holds: Callable[[Any], bool]
    most: float | None = None

    def words_for(self, value: Any) -> str:
        """The rule that `value` breaks."""
        if isinstance(value, float) and not math.isfinite(value):
            return FINITE
        if self.most is not None and isinstance(value, int | float) and abs(value) > self.most:
            return f"at most {self.most:,} in size" if value < 0 else f"at most {self.most:,}"
        return self.text


class Settings:
    """Base of the dataclasses of settings: constructing one checks the rules in its types, then `check`."""

    __slots__ = ()
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    def __post_init__(self) -> None:
        kind: Any = type(self)
        for name, rule in rules_of(kind):
            value = getattr(self, name)
            require(rule.holds(value), name, rule.words_for(value), value)
        self.check()

    def check(self) -> None:
        """Rules between several settings. Raises ValueError."""


def require(holds: bool, name: str, rule: str, got: object) -> None:
    """Raises ValueError "<name> must be <rule>, got <got>" unless it holds."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, got {shown(got)}")


@lru_cache(maxsize=256)
def rules_of(kind: Any) -> tuple[tuple[str, Rule], ...]:
    """(name, rule) of the fields of a dataclass whose type has one."""
    hints = get_type_hints(kind, include_extras=True)
    rules = ((name, rule_of(hints[name])) for name in kind.__dataclass_fields__)
    return tuple((name, rule) for name, rule in rules if rule is not None)


def rule_of(hint: Any) -> Rule | None:
    """The rule in a type, None for a type without one."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is float:
        return Rule(text=FINITE, holds=_is_finite, most=MOST_REAL)
    if hint is int:
        return Rule(text="a whole number", holds=_is_whole, most=MOST_WHOLE)
    if origin is Literal:
        return Rule(text=f"one of {', '.join(map(str, arguments))}", holds=lambda value: value in arguments)
    if origin is Annotated:
        return _annotated_rule(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        members = [rule_of(member) for member in arguments if member is not NoneType]
        return _optional(members[0]) if len(members) == 1 and members[0] else None
    if origin is tuple and arguments:
        return _each(arguments)
    if origin is not None and issubclass(origin, Mapping):
        member = rule_of(arguments[1])
        if member is not None:
            return Rule(
                text=f"a mapping of values that are {member.text}",
                holds=lambda value: all(map(member.holds, value.values())),
            )
    return None


def _annotated_rule(inner: Any, metadata: Iterable[Any]) -> Rule | None:
    base = rule_of(inner)
    bounds: dict[type, Any] = {}
    tests: list[Callable[[Any], bool]] = [base.holds] if base else []
    text = base.text if base else ""
    words: str | None = None
    most = base.most if base else None
    for mark in _ungrouped(metadata):
        if isinstance(mark, RuleText):
            words = mark.text
        elif isinstance(mark, Most):
            most = mark.bound
            tests.append(partial(_is_at_most, mark.bound))
        elif isinstance(mark, Ge | Gt | Le | Lt | MultipleOf):
            bounds[type(mark)] = next(iter(_values(mark)))
            tests.append(_test_of(mark))
        elif isinstance(mark, StringConstraints) and mark.pattern is not None:
            tests.append(partial(_matches, re.compile(mark.pattern)))
        elif isinstance(rule := getattr(mark, "rule", None), Rule):
            tests.append(rule.holds)
            text = rule.text
    if not tests:
        return None
    text = words or (_bounds_text(bounds) if bounds else text)
    return Rule(text=text, holds=lambda value: all(test(value) for test in tests), most=most)


def _ungrouped(metadata: Iterable[Any]) -> Iterable[Any]:
    for mark in metadata:
        if isinstance(mark, GroupedMetadata) and not isinstance(mark, StringConstraints):
            yield from mark
        else:
            yield mark


def _values(mark: Ge | Gt | Le | Lt | MultipleOf) -> Iterable[Any]:
    return (getattr(mark, name) for name in mark.__dataclass_fields__)


def _test_of(mark: Ge | Gt | Le | Lt | MultipleOf) -> Callable[[Any], bool]:
    [bound] = _values(mark)
    tests: dict[type, Callable[[Any], bool]] = {
        Ge: lambda value: value >= bound,
        Gt: lambda value: value > bound,
        Le: lambda value: value <= bound,
        Lt: lambda value: value < bound,
        MultipleOf: lambda value: value % bound == 0,
    }
    return tests[type(mark)]


def _bounds_text(bounds: Mapping[type, Any]) -> str:
    """E.g. "at least 1", "from 0 to 1", "more than 0 and at most 1"."""
    ge, gt, le, lt = (bounds.get(kind) for kind in (Ge, Gt, Le, Lt))
    if ge is not None and le is not None:
        return f"from {ge} to {le}"
    if gt is not None and lt is not None:
        return f"between {gt} and {lt}"
    least = "0 or more" if ge == 0 else f"at least {ge}" if ge is not None else f"more than {gt}"
    most = f"at most {le}" if le is not None else f"less than {lt}"
    parts = [least] if ge is not None or gt is not None else []
    parts += [most] if le is not None or lt is not None else []
    if MultipleOf in bounds:
        parts.append(f"a multiple of {bounds[MultipleOf]}")
    return " and ".join(parts)


def _matches(pattern: re.Pattern[str], value: str) -> bool:
    return pattern.fullmatch(value) is not None


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) <= MOST_REAL  # NaN and infinity are not


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and abs(value) <= MOST_WHOLE


def _is_at_most(bound: int, value: Any) -> bool:
    return bool(value <= bound)


def _optional(rule: Rule) -> Rule:
    return Rule(text=rule.text, holds=lambda value: value is None or rule.holds(value), most=rule.most)


def _each(arguments: tuple[Any, ...]) -> Rule | None:
    """Of tuple[X, ...] the rule of X for all, of tuple[X, Y] each one's own."""
    rules = [rule_of(argument) for argument in arguments if argument is not Ellipsis]
    texts = list(dict.fromkeys(rule.text for rule in rules if rule is not None))
    if not texts:
        return None
    if arguments[-1] is Ellipsis:
        return Rule(
            text=texts[0], holds=lambda value: all(rules[0] is None or rules[0].holds(v) for v in value)
        )

    def holds(value: Any) -> bool:
        return len(value) == len(rules) and all(
            rule is None or rule.holds(one) for rule, one in zip(rules, value, strict=True)
        )

    return Rule(text="; ".join(texts), holds=holds)
