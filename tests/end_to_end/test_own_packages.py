"""A folder with the user's own `jobs/`, `workers.py` and `dreamcache.py`: ours are imported, on driver and workers.

From a wheel, since an editable installation has a finder of its own that hides the fault.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dreamcache.core.errors import DreamCacheError
from jobs import own_packages
from jobs.cluster import ray_cluster
from tests.command import write_job
from tests.end_to_end.photos import write_catalog, write_photos
from tests.installed import build_wheel, make_environment, outside

SECONDS = 300
OWN = 'raise RuntimeError("the user\'s own file was imported")\n'


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    wheel = build_wheel(tmp_path_factory.mktemp("wheel"))
    return make_environment(tmp_path_factory.mktemp("installed"), wheel)


def users_folder(folder: Path) -> Path:
    """Their files, and a job beside them."""
    (folder / "jobs").mkdir(parents=True)
    for name in ("jobs/__init__.py", "workers.py", "dreamcache.py"):
        (folder / name).write_text(OWN)
    catalog = write_catalog(folder, write_photos(folder, 1))
    write_job(folder, catalog=catalog, output=str(folder / "output"), prompts=["a product on sand"])
    return folder


def start(python: Path, folder: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(python.parent / command[0]), *command[1:]], cwd=folder, env=outside(env, folder), capture_output=True,
        text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("on_path", [False, True], ids=["current folder", "PYTHONPATH"])
def test_a_run_beside_the_users_own_modules(on_path: bool, python: Path, tmp_path: Path) -> None:
    folder = users_folder(tmp_path / "shop")
    env = {"PYTHONPATH": str(folder)} if on_path else {}
    done = start(python, folder, "dreamcache", "run", "job.yaml", "--no-gallery", "--quiet", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pq.read_table(folder / "output" / "manifest.parquet")["status"].to_pylist() == ["done"]


@pytest.mark.slow
def test_a_module_that_was_imported_before_is_named_in_one_line(python: Path, tmp_path: Path) -> None:
    (tmp_path / "workers.py").write_text("x = 1\n")
    done = start(python, tmp_path, "python", "-c", "import workers, jobs")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: module 'workers' must be dreamcache's own")
    assert str(tmp_path / "workers.py") in last


def test_a_file_in_the_way_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "job.yaml").touch()
    assert own_packages.in_the_way() is None, "a folder of job files is no package"
    (tmp_path / "other").mkdir()
    for file in (
        tmp_path / "other" / "dreamcache.py",
        tmp_path / "workers.py",
        tmp_path / "jobs" / "__init__.py",
    ):
        file.touch()
        monkeypatch.setenv("PYTHONPATH", str(file.parent))
        assert own_packages.in_the_way() == file
        monkeypatch.delenv("PYTHONPATH")


def test_a_ray_of_the_users_own_is_refused_with_the_file_that_is_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_cluster, "_prefers_own_packages", False)
    ray_cluster._check_own_packages()
    (tmp_path / "workers.py").touch()
    with pytest.raises(DreamCacheError, match=r"workers\.py: is in the way") as caught:
        ray_cluster._check_own_packages()
    assert caught.value.code == "module_in_the_way"
