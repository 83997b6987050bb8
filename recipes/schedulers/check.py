"""Runs the recipes for Airflow and Dagster with the real schedulers, each in an environment that is deleted again.

    python -m recipes.schedulers.check [airflow | dagster]

The job is one of the embedded model's; `dreamcache` is that of the calling environment. Needs the network.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = {"airflow": "apache-airflow>=3.1,<4", "dagster": "dagster>=1.11,<2"}
RUN = {
    "airflow": (
        "import json, sys; sys.path.insert(0, {here!r}); from airflow_dag import DAG; "
        "run = DAG.test(run_conf={{'job': {job!r}, 'target': {target!r}, 'base_url': 'https://cdn.example/shop'}}); "
        "sys.exit(str(run.state) not in ('success', 'DagRunState.SUCCESS'))"
    ),
    "dagster": (
        "import sys; sys.path.insert(0, {here!r}); import dagster, dagster_assets as recipe; "
        "sys.exit(not dagster.materialize([recipe.product_images, recipe.merchant_feed]).success)"
    ),
}


def check(name: str, folder: Path) -> None:
    """Raises CalledProcessError when the recipe fails, AssertionError when it left no feed."""
    venv, target = folder / "venv", folder / "shop"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    python = str(venv / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGES[name]], check=True)
    job = write_job(folder)
    paths = os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")])
    places = {"DREAMCACHE_JOB": str(job), "DREAMCACHE_TARGET": str(target)}
    home = {
        "AIRFLOW_HOME": str(folder / "airflow"),
        "DAGSTER_HOME": "",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    environment = {**os.environ, **places, **home, "PATH": paths}
    environment.pop("DAGSTER_HOME")
    if name == "airflow":
        subprocess.run([str(venv / "bin/airflow"), "db", "migrate"], check=True, env=environment)
    text = RUN[name].format(here=str(HERE), job=str(job), target=str(target))
    subprocess.run([python, "-c", text], check=True, env=environment, cwd=folder)
    assert (target / "google-merchant.tsv").is_file(), f"{name}: no feed in {target}"
    print(f"{name}: the recipe ran; {(target / 'report.json').stat().st_size} bytes of report")


def write_job(folder: Path) -> Path:
    """A job of the embedded model, over its own catalog."""
    dreamcache = str(Path(sys.prefix) / "bin/dreamcache")
    subprocess.run([dreamcache, "init", str(folder / "job"), "--sample", "1"], check=True)
    return folder / "job" / "job.yaml"


def main() -> None:
    """All of the recipes, or those that are named."""
    for name in sys.argv[1:] or PACKAGES:
        with tempfile.TemporaryDirectory(prefix=f"dreamcache-{name}-") as folder:
            check(name, Path(folder))


if __name__ == "__main__":
    main()
