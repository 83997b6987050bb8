"""What plan and doctor say of a job's marks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import C2paSettings, ProvenanceSettings
from dreamcache.core.errors import SigningError
from dreamcache.provenance import development
from dreamcache.provenance.certificate import certificate_facts
from jobs.doctor.check import run_trials
from jobs.doctor.marks import trials
from jobs.planning.marks import marks_of
from tests.provenance.chain import signing, write_chain


def verdict(folder: Path, provenance: ProvenanceSettings) -> tuple[str, str]:
    spec = JobSpec(name="j", catalog="c.csv", output=str(folder / "out"), provenance=provenance)
    [check] = run_trials(trials(spec))
    return check.state, check.finding


def test_without_a_certificate(tmp_path: Path) -> None:
    assert marks_of(ProvenanceSettings()).line() == "marks: xmp; c2pa off; invisible off"
    assert verdict(tmp_path, ProvenanceSettings()) == ("ok", "xmp; c2pa off; invisible off")
    state, finding = verdict(tmp_path, ProvenanceSettings(marking="off"))
    assert state == "warn" and finding.startswith("off; images do not say")


def test_a_development_certificate_is_untrusted(tmp_path: Path) -> None:
    chain = write_chain(tmp_path, "My Shop")
    marks = marks_of(signing(tmp_path))
    assert marks.line() == (
        "marks: xmp; c2pa of My Shop, development signer, not trusted: for development, readers report it as "
        "untrusted; invisible off"
    )
    assert verdict(tmp_path, signing(tmp_path))[0] == "warn"
    facts = replace(certificate_facts(str(tmp_path / "chain.pem")), is_development=False)
    assert facts.problem() is None
    assert facts.problem(chain.ends_on - timedelta(days=3)) == f"it ends on {chain.ends_on:%Y-%m-%d}"
    assert str(facts.problem(chain.ends_on + timedelta(days=1))).startswith("not valid")


def test_a_certificate_that_has_ended_or_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(development, "LIFETIME", timedelta(minutes=-30))
    write_chain(tmp_path / "old")
    state, finding = verdict(tmp_path, signing(tmp_path / "old"))
    assert state == "fail" and "not valid: it holds from" in finding
    (tmp_path / "chain.pem").write_text("no certificate")
    (tmp_path / "key.pem").write_text("no key")
    state, finding = verdict(tmp_path, signing(tmp_path))
    assert state == "fail" and "must be a readable PEM chain" in finding
    missing = ProvenanceSettings(c2pa=C2paSettings(certificate=str(tmp_path / "none.pem"), key="k"))
    assert marks_of(missing).is_broken
    with pytest.raises(SigningError, match=r"none\.pem"):
        certificate_facts(str(tmp_path / "none.pem"))
