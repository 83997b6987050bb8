"""A submitted driver's log without the lines that Ray writes into it about itself.

    texts as they come --own_lines--> texts without them; `--verbose` shows all

Knows forms of lines; asks no cluster.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from jobs.cluster.ray_cluster import VERBOSE

RAYS_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+\tINFO \w+\.py:\d+ -- |Running entrypoint for job \S+: |"
    r"(\x1b\[[0-9;]*m)*(\([^)]{1,80}\) ?)?\[\d{4}-\d\d-\d\d [\d:,. ]+[DIWE] \d+ \d+\]"
)
"""Of its job manager, of its loggers, and of its core. Warnings and errors of the first two are shown."""
MOST_HELD = 8192
"""Characters of a line that has no end yet."""


def own_lines(texts: Iterable[str]) -> Iterator[str]:
    """The texts without Ray's lines. A line is held back until it has ended, or is longer than Ray's are."""
    if os.environ.get(VERBOSE, "") not in ("", "0"):
        yield from texts
        return
    held = ""
    for text in texts:
        *lines, held = (held + text).split("\n")
        if shown := "".join(f"{line}\n" for line in lines if not RAYS_LINE.match(line)):
            yield shown
        if len(held) > MOST_HELD:
            yield held
            held = ""
    if held and not RAYS_LINE.match(held):
        yield held
