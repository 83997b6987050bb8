"""Every command line of the corpus ends in one line with exit 1 or 2, or works. `main` runs in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobs.cli.main import main
from tests.corpus.kind import USED, Kind, case_id
from tests.jobs.test_output_corpus import finished, of_kind

__all__ = ["finished"]


@pytest.mark.parametrize(("kind", "name"), of_kind("arguments", quick=3), ids=case_id)
def test_a_command_line_ends_as_its_kind_says(
    kind: Kind,
    name: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "folder/dir.yaml").mkdir(parents=True)
    places = {"job": finished / "job.yaml", "output": finished / "output", "folder": tmp_path / "folder"}
    words: list[str] = kind.inputs[name](tmp_path)  # type: ignore[assignment]
    for place, path in places.items():
        words = [word.replace(f"{{{place}}}", str(path)) for word in words]
    monkeypatch.setattr(sys, "argv", ["dreamcache", *words])
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capfd.readouterr()
    assert "Traceback" not in err and "unexpected " not in err.replace("unexpected argument", ""), err
    assert "\x1b" not in out + err and "\u202e" not in out + err
    if kind.code == USED:
        assert ended.value.code == 0, err
        return
    assert ended.value.code in (1, 2), (ended.value.code, out, err)
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 or err.startswith("Usage: "), err
    assert len(err) < 4500 and LONG not in err


LONG = "x" * 401
