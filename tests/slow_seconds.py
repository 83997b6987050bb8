"""Records how long slow tests last: python -m tests.slow_seconds REPORT.xml... after runs of pytest with --junitxml.

Seconds are the mean over a test's parameters, with the set-up that the report counts to it. A test that is gone
stays in the file until it is removed by hand; one that a report does not hold keeps its seconds.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from statistics import fmean
from xml.etree import ElementTree

from tests.rotation import RECORDED, function_of


def seconds_of(report: str) -> dict[str, list[float]]:
    """Seconds of each test of a report, by the name of its function. What was skipped does not count."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        if case.find("skipped") is None:
            seconds[function_of(node_of(case.attrib))].append(float(case.attrib["time"]))
    return seconds


def node_of(attributes: dict[str, str]) -> str:
    """`tests.jobs.test_x` or `tests.jobs.test_x.TestCase` and a name, as pytest's own node id."""
    parts = attributes["classname"].split(".")
    module = next(index for index, part in enumerate(parts) if part.startswith("test_"))
    path = "/".join(parts[: module + 1]) + ".py"
    return "::".join([path, *parts[module + 1 :], attributes["name"]])


def main(reports: list[str]) -> None:
    recorded: dict[str, float] = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}
    for report in reports:
        recorded |= {name: round(fmean(times), 1) for name, times in seconds_of(report).items()}
    RECORDED.write_text(json.dumps(dict(sorted(recorded.items())), indent=1) + "\n", "utf-8")
    print(f"{len(recorded)} tests, {RECORDED.name}")


if __name__ == "__main__":
    main(sys.argv[1:])
