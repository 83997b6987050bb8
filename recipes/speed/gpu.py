"""All GPU measurements in one command, under 10 minutes: python -m recipes.speed.gpu --out DIR

    sections, each a process with its own minutes: step | compile | arithmetic | vae | klein | job
    DIR/<section>.json after each measurement -> DIR/report.json and DIR/report.md after each section

Weights are random at true size, so nothing is downloaded. A section whose minutes are over is stopped, and what it
wrote stays. `--tiny` runs the same code with few channels on any machine, to try it before a GPU is rented. Knows the
sections' order and minutes; what is measured is `recipes.speed.gpu_sections`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recipes.speed.table import markdown

SECONDS = {"step": 145, "compile": 150, "arithmetic": 60, "vae": 45, "klein": 70, "job": 120}
"""Of each section; together under 10 minutes."""

WHEELS = ("torch", "diffusers", "transformers", "accelerate", "ray", "triton")


def run(out: Path, *, sections: list[str], tiny: bool, scale: float) -> dict[str, Any]:
    """Runs the sections one after the other and writes the report after each."""
    out.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {"wheels": _wheels(), "sections": {}}
    for name in sections:
        file = out / f"{name}.json"
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "recipes.speed.gpu_sections", name, "--out", str(file)]
        limit, started = SECONDS[name] * scale, time.monotonic()
        end = "finished"
        try:
            done = subprocess.run(
                command + ["--tiny"] * tiny,
                timeout=limit,
                env={**os.environ, "HF_HUB_OFFLINE": "1", "RECIPE_SECONDS": str(0.9 * limit)},
                check=False,
            )
            if done.returncode:
                end = f"ended with code {done.returncode}"
        except subprocess.TimeoutExpired:
            end = f"was stopped after its {limit:.0f} s"
        written = json.loads(file.read_text("utf-8")) if file.exists() else {}
        report["sections"][name] = {"end": end, "seconds": round(time.monotonic() - started, 1), **written}
        (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        (out / "report.md").write_text(text_of(report), "utf-8")
        print(f"gpu: {name} {end}, {report['sections'][name]['seconds']} s", flush=True)
    return report


def text_of(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = ["Packages: " + ", ".join(f"{name} {number}" for name, number in report["wheels"].items()), ""]
    for name, section in report["sections"].items():
        device = section.get("device", "no device was reached")
        lines += [f"## {name}", "", f"{device}; the section {section['end']}, {section['seconds']} s.", ""]
        lines += [markdown(section["rows"])] if section.get("rows") else []
        lines += [f"- {note}" for note in section.get("notes", [])]
    return "\n".join(lines) + "\n"


def _wheels() -> dict[str, str]:
    wheels = {}
    for name in WHEELS:
        try:
            wheels[name] = version(name)
        except ModuleNotFoundError:
            wheels[name] = "not installed"
    return wheels


def main() -> None:
    """Prints the report."""
    parser = argparse.ArgumentParser(prog="python -m recipes.speed.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--sections", default=",".join(SECONDS), help="names with commas between")
    parser.add_argument("--tiny", action="store_true", help="few channels, on this machine's processor")
    parser.add_argument("--scale", type=float, default=1.0, help="of every section's seconds")
    options = parser.parse_args()
    sections = options.sections.split(",")
    unknown = set(sections) - set(SECONDS)
    if unknown:
        parser.error(f"--sections: must be of {', '.join(SECONDS)}, got {', '.join(sorted(unknown))}")
    print(text_of(run(options.out, sections=sections, tiny=options.tiny, scale=options.scale)))


if __name__ == "__main__":
    main()
