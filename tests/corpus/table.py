"""The table of bad inputs in docs, from the corpus: python -m tests.corpus.table > docs/bad-input.md"""

from __future__ import annotations

from itertools import groupby

from tests.corpus.kind import USED, Kind, all_kinds

TITLES = {
    "photo": "Photos",
    "mask": "Masks",
    "row": "Rows of a catalog",
    "catalog": "Catalogs as a whole",
    "spec": "YAML files (job, training, evaluation, synthesis)",
    "arguments": "Command lines",
    "output": "Output folders",
    "cache": "Objects of the feature cache",
    "adapter": "Adapters",
    "base": "Base models",
    "shard": "Training shards",
}
HEAD = """# What bad input does

Each kind below is tested with several inputs (`tests/corpus`), and this page is written from those tests. A bad photo
or row costs that row and nothing else: the job generates the rest and ends with exit code 3. A file that is unusable as
a whole ends the command with one line and exit code 1 or 2 before anything is generated. Codes: [errors](errors.md).
"""
OUTCOMES = {
    0: "is used",
    1: "one line, nothing is generated",
    2: "one line, nothing is generated",
    3: "its items fail, all others are generated",
}


def main() -> None:
    """Prints the page."""
    print(page(), end="")


def page() -> str:
    """The Markdown text of docs/bad-input.md."""
    kinds = sorted(all_kinds(), key=lambda kind: list(TITLES).index(kind.door))
    lines = [HEAD]
    for door, group in groupby(kinds, key=lambda kind: kind.door):
        lines += [
            f"## {TITLES[door]}\n",
            "| kind | inputs | outcome | code | exit |",
            "|---|---|---|---|---|",
        ]
        lines += [_line(kind) for kind in group]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _line(kind: Kind) -> str:
    exit_code = 0 if kind.code == USED else kind.exit_code
    if kind.door == "cache" and kind.code != USED:
        outcome, exit_code = "the reference is encoded again", 0
    else:
        outcome = OUTCOMES[exit_code]
    name = kind.name.partition("/")[2].replace("-", " ")
    code = f"`{kind.code}`" if kind.code else ""
    return f"| {name} | {len(kind.inputs)} | {outcome} | {code} | {exit_code} |"


if __name__ == "__main__":
    main()
