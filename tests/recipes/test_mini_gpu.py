"""The recipe in one command: its plan, what it packs, and all of it at toy size on the processor."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from recipes.mini import gpu


def test_the_plan_leaves_most_minutes_to_the_unet():
    plan = gpu.Plan.of(9.0)
    assert 9.0 - (plan.vae + plan.refine + plan.clip + plan.reserve) > 5.0


def test_weights_are_packed_in_parts_that_join_to_one_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, out = tmp_path / "exported", tmp_path / "out"
    (folder / "unet").mkdir(parents=True)
    out.mkdir()
    (folder / "unet" / "weights.bin").write_bytes(bytes(range(256)) * 100)
    (out / "weights.tar.99").write_bytes(b"of an older export")
    monkeypatch.setattr(gpu, "PART", 10_000)
    parts = gpu.pack(folder, out)
    assert parts == sorted(out.iterdir())
    assert all(part.stat().st_size <= 10_000 for part in parts) and len(parts) > 2
    with tarfile.open(fileobj=io.BytesIO(b"".join(part.read_bytes() for part in parts))) as archive:
        member = archive.extractfile("weights/unet/weights.bin")
        assert member is not None
        assert member.read() == (folder / "unet" / "weights.bin").read_bytes()


@pytest.mark.slow
def test_the_command_runs_end_to_end_at_toy_size(tmp_path: Path):
    command = [sys.executable, "-m", "recipes.mini.gpu", "--toy", "--minutes", "0.6", "--device", "cpu"]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")],
        cwd=Path(gpu.__file__).parents[2], capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-2000:]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"log.txt", "weights.tar.0", "grid.png"} <= names
    assert len(names) <= 8
    assert all(path.stat().st_size <= 15 * 2**20 for path in (tmp_path / "out").iterdir())
