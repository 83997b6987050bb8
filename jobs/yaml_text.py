"""YAML from people and other programs, read within bounds: no repeated key, no bomb of aliases, no tags of Python.

    bytes --UTF-8--> text --events: depth, size, aliases--> checked --> plain values

Knows YAML; knows nothing of what keys mean.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from dreamcache.core.errors import SpecError
from dreamcache.core.texts import shown

MAX_BYTES = 4 << 20
MAX_DEPTH = 30
MAX_NODES = 200_000
"""Values and keys, those behind aliases counted at each use."""
HINT = "quote texts that begin with or, in [lists], hold { }"

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """The safe loader, which also refuses a key that is given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(set(names)) < len(names):
            repeated = next(name for name in names if names.count(name) > 1)
            line = max(key.start_mark.line for key, _ in node.value if key.value == repeated) + 1
            raise RefusedError(
                f"line {line}: key {shown(repeated)} must be given once, is given twice; remove one"
            )
        return dict(super().construct_mapping(node, deep=deep))


BOOLEAN = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != BOOLEAN]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
# As YAML 1.2 has it: `off` and `no` are texts, which settings of that name and true-or-false settings both take.
_Loader.add_implicit_resolver(BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_constructor(
    "tag:yaml.org,2002:map", lambda loader, node: loader.construct_mapping(node, deep=True)
)


class RefusedError(ValueError):
    """A rule that YAML itself does not have. The text is "line N: what; remedy"."""


def parse_yaml(data: bytes | str, where: str) -> object:
    """The one document's plain values. Raises SpecError with `where`, line and rule; it never holds the document."""
    if len(data) > MAX_BYTES:
        raise SpecError(f"{where}: must be a YAML text of at most {MAX_BYTES:,} bytes, has more; shorten it")
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        text.encode()  # half a surrogate pair, from a command line of other bytes
        _check_size(text)
        return yaml.load(text, _Loader)
    except UnicodeError as error:
        raise SpecError(
            f"{where}: must be UTF-8, byte {getattr(error, 'start', 0)} is not; save it as UTF-8"
        ) from error
    except RefusedError as error:
        raise SpecError(f"{where}: {error}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: must be a readable YAML file: {_brief(error)}; {HINT}") from error
    except (ValueError, TypeError, OverflowError, LookupError, AttributeError, RecursionError) as error:
        # Numbers of 5,000 digits, the 13th month, a key that is a list.
        raise SpecError(
            f"{where}: must be a readable YAML file, got {type(error).__name__}: {error}; correct the value"
        ) from error


def _check_size(text: str) -> None:
    """Counts values as they would be once aliases are followed. Raises RefusedError; YAMLError for no YAML."""
    anchors: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, _Base):
        size = 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in anchors:
                raise RefusedError(
                    _at(event, f"alias *{event.anchor} must not lie in what it names; write it out")
                )
            size = anchors[event.anchor]
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            if len(open_nodes) > MAX_DEPTH:
                raise RefusedError(_at(event, f"may have at most {MAX_DEPTH} levels, has more; flatten it"))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            size = 0
            if anchor is not None:
                anchors[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            if event.anchor is not None:
                anchors[event.anchor] = 1
        else:
            size = 0
        total += size
        if total > MAX_NODES:
            raise RefusedError(
                _at(event, f"may hold at most {MAX_NODES:,} values, aliases included, holds more; shorten it")
            )


def _at(event: Any, rule: str) -> str:
    return f"line {event.start_mark.line + 1}: {rule}"


def _brief(error: yaml.YAMLError) -> str:
    return " ".join(str(error).split())
