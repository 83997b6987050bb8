"""Ceilings that may only fall: what is left of what the style bans. python -m tests.house.ceilings lowers them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.house import sources

FILE = Path(__file__).parent / "ceilings.json"
MEASURES: dict[str, Callable[[], dict[str, int]]] = {
    "long_files": sources.long_files,
    "long_functions": sources.long_functions,
    "banned_words": sources.banned_words,
    "dead_references": sources.dead_references,
}


def read_ceilings() -> dict[str, dict[str, int]]:
    ceilings: dict[str, dict[str, int]] = json.loads(FILE.read_text("utf-8"))
    return ceilings


def above(measured: dict[str, int], ceilings: dict[str, int]) -> dict[str, str]:
    """What is over its ceiling, with both numbers; what has none must not occur."""
    return {
        name: f"{count}, at most {ceilings.get(name, 0)}"
        for name, count in measured.items()
        if count > ceilings.get(name, 0)
    }


def lowered(measured: dict[str, int], ceilings: dict[str, int]) -> dict[str, int]:
    """The ceilings after this measurement: none rises, none is added, what is gone has none."""
    both = sorted(measured.keys() & ceilings.keys())
    return {name: min(measured[name], ceilings[name]) for name in both}


def main() -> None:
    ceilings = read_ceilings()
    fallen = {kind: lowered(measure(), ceilings[kind]) for kind, measure in MEASURES.items()}
    FILE.write_text(json.dumps(fallen, indent=1) + "\n", "utf-8")
    for kind in MEASURES:
        print(f"{kind}: {sum(ceilings[kind].values())} -> {sum(fallen[kind].values())}")


if __name__ == "__main__":
    main()
