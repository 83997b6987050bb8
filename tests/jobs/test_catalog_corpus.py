"""Every catalog of the corpus ends as its kind says: good rows are read with their own photos, bad ones are named."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from dreamcache.core.errors import CatalogError
from jobs.planning.catalog import BadRow, read_catalog
from tests.corpus.catalogs_parquet import WHOLE, flipped
from tests.corpus.kind import USED, Kind, case_id, cases


@pytest.mark.parametrize(("kind", "name"), cases("catalog"), ids=case_id)
def test_a_catalog_ends_as_its_kind_says(kind: Kind, name: str, tmp_path: Path) -> None:
    path = tmp_path / str(kind.inputs[name](tmp_path))
    if kind.code == "bad_catalog":
        with pytest.raises(CatalogError) as raised:
            list(read_catalog(str(path)))
        _is_one_line(str(raised.value))
        return
    entries = list(read_catalog(str(path)))
    bad = [entry for entry in entries if isinstance(entry, BadRow)]
    good = [entry for entry in entries if not isinstance(entry, BadRow)]
    assert {entry.code for entry in bad} == ({kind.code} if kind.code != USED else set()), bad
    for entry in bad:
        _is_one_line(entry.message)
        assert not entry.subject_id.startswith("good"), entry
    for entry in good:
        assert entry.subject_id.startswith("good"), entry
        assert Path(entry.image).stem in (entry.subject_id, "good"), entry
    expected = _good_rows_in(path)
    assert expected is None or {entry.subject_id for entry in good} == expected


def _good_rows_in(path: Path) -> set[str] | None:
    """The ids that a text file names as good."""
    if not path.is_file() or path.suffix not in (".csv", ".jsonl"):
        return None
    text = path.read_bytes()
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None
    import re

    return {
        match.decode() for match in re.findall(rb"(?<![\w.-])good-\d+(?![\w.])", text.replace(b"\0", b""))
    }


def _is_one_line(message: str) -> None:
    assert len(message) < 2000 and message.isprintable(), message


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_parquet_file_is_a_catalog_error_or_read(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    data = flipped(seed, count=chance.choice((1, 2, 5, 50)))
    if chance.random() < 0.3:
        data = data[: chance.randrange(len(data))]
    (tmp_path / "c.parquet").write_bytes(data)
    try:
        list(read_catalog(str(tmp_path / "c.parquet")))
    except CatalogError as error:
        _is_one_line(str(error))


def test_row_numbers_are_those_of_a_spreadsheet(tmp_path: Path) -> None:
    """Case 09: a quoted line break is within a row, an empty line is a row."""
    (tmp_path / "c.csv").write_text('subject_id,title,image\na,"two\nlines",a.png\n\n\nb,x,\n')
    [bad] = [entry for entry in read_catalog(str(tmp_path / "c.csv")) if isinstance(entry, BadRow)]
    assert bad.row == 5 and "c.csv row 5: subject 'b'" in bad.message


def test_the_corpus_of_flips_is_a_parquet_file() -> None:
    import pyarrow.parquet as pq

    assert pq.read_table(io.BytesIO(WHOLE)).num_rows == 60
