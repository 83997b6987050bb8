"""All GPU measurements in one command, under 10 minutes: python -m recipes.speed.gpu --out DIR

    sections, each a process with its own minutes: step | sdxl | job | compile | arithmetic | vae | klein
    DIR/<section>.json after each measurement -> DIR/report.json and DIR/report.md after each section

Weights are random at true size, so nothing is downloaded. A section whose minutes are over is stopped, and what it
wrote stays. `--tiny` runs the same code with few channels on any machine, to try it before a GPU is rented. Knows the
sections' order and minutes; what is measured is `recipes.speed.gpu_sections`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from recipes.speed.table import markdown

SECONDS = {"step": 105, "sdxl": 105, "job": 110, "compile": 120, "arithmetic": 40, "vae": 35, "klein": 50}
"""Of each section; together under 10 minutes. Those that matter most come first: a rented machine may be lost."""
GRACE_S = 3.0
"""For the job of a section that is stopped: its workers end with it."""

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
        end = _run_section(command + ["--tiny"] * tiny, limit)
        written = json.loads(file.read_text("utf-8")) if file.exists() else {}
        report["sections"][name] = {"end": end, "seconds": round(time.monotonic() - started, 1), **written}
        (out / "report.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
        (out / "report.md").write_text(text_of(report), "utf-8")
        print(f"gpu: {name} {end}, {report['sections'][name]['seconds']} s", flush=True)
    return report


def _run_section(command: list[str], limit: float) -> str:
    """How it ended. With it ends what it has started."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "RECIPE_SECONDS": str(0.9 * limit)}
    with subprocess.Popen(command, env=environment, start_new_session=True) as section:
        try:
            code = section.wait(timeout=limit)
            return f"ended with code {code}" if code else "finished"
        except subprocess.TimeoutExpired:
            return f"was stopped after its {limit:.0f} s"
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(section.pid, number)
                    time.sleep(GRACE_S if section.poll() is None else 0.0)


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
