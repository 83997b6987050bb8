"""Catalogs of every form become subjects; a bad row is a value that says what is wrong and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dreamcache.core.errors import CatalogError
from dreamcache.core.records import Subject
from jobs.planning.catalog import BadRow, LeftOut, read_catalog

ROWS: list[dict[str, Any]] = [
    {"subject_id": "mug-1", "class_name": "mug", "image": "img/1.png", "color": "red"},
    {"subject_id": "mug-2", "class_name": "", "image": "s3://shop/2.png", "color": None},
]


def read(path: Path, **options: Any) -> list[Subject | BadRow]:
    return list(read_catalog(str(path), **options))


def only_bad(path: Path, **options: Any) -> BadRow:
    [bad] = [entry for entry in read(path, **options) if isinstance(entry, BadRow)]
    return bad


def write_csv(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def write_jsonl(path: Path, *lines: Any) -> Path:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(texts) + b"\n")
    return path


def write_same_rows(folder: Path, suffix: str) -> Path:
    path = folder / f"catalog.{suffix}"
    if suffix == "jsonl":
        return write_jsonl(path, *ROWS)
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
        return path
    comma = "," if suffix.lower() == "csv" else "\t"
    lines = [comma.join(ROWS[0]), *(comma.join(str(v or "") for v in row.values()) for row in ROWS)]
    return write_csv(path, "\ufeff" + "\r\n".join(lines) + "\r\n")


def test_a_mark_of_utf_8_before_quotes(tmp_path: Path) -> None:
    """Read as a letter, it would make the quotes of the first name a part of it."""
    path = write_csv(tmp_path / "c.csv", '\ufeff"image","subject_id"\r\n"a,b.png","x"\r\n')
    assert [(one.subject_id, one.image) for one in read(path)] == [("x", f"{tmp_path}/a,b.png")]


@pytest.mark.parametrize("suffix", ["csv", "CSV", "tsv", "jsonl", "parquet"])
def test_the_same_rows_in_any_format(tmp_path: Path, suffix: str) -> None:
    assert read(write_same_rows(tmp_path, suffix), class_name="product") == [
        Subject(
            subject_id="mug-1",
            class_name="mug",
            image=f"{tmp_path}/img/1.png",
            attributes={"color": "red"},
        ),
        Subject(subject_id="mug-2", class_name="product", image="s3://shop/2.png", attributes={"color": ""}),
    ]


def test_a_folder_gives_a_subject_per_photo_and_per_sub_folder(tmp_path: Path) -> None:
    for name in ["b.png", "a.JPG", "cup/2.png", "cup/1.webp", "notes.txt"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = {entry.subject_id: entry.image for entry in read(tmp_path) if isinstance(entry, Subject)}
    assert found == {name: f"{tmp_path}/{photo}" for name, photo in _PHOTOS.items()}
    (tmp_path / "b.webp").write_bytes(b"")
    assert "another photo already gives subject 'b'" in only_bad(tmp_path).message


_PHOTOS = {"a": "a.JPG", "b": "b.png", "cup": "cup/1.webp"}


def test_columns_map_our_names_to_theirs(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "c.csv", "sku,photo,image,color\n7,7.png,lifestyle.png,red\n")
    [subject] = read(path, columns={"subject_id": "sku", "image": "photo"})
    assert subject == Subject(
        subject_id="7",
        class_name="product",
        image=f"{tmp_path}/7.png",
        attributes={"sku": "7", "photo": "7.png", "color": "red"},
        typed={"sku": 7},
    )


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, r"needs a column 'subject_id' \(did you mean 'subject'\?\), has subject, image"),
        ({"subject_id": "subjekt"}, r"needs a column 'subjekt' \(did you mean 'subject'\?\)"),
        ({"subject_id": "subject", "mask": "imagf"}, r"needs a column 'imagf' \(did you mean 'image'\?\)"),
        ({"subjectid": "subject"}, r"columns: 'subjectid' is not one of .* \(did you mean 'subject_id'\?\)"),
    ],
)
def test_a_missing_column_is_named_with_the_closest(
    tmp_path: Path, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        read(write_csv(tmp_path / "c.csv", "subject,image\na,a.png\n"), columns=columns)


def test_the_second_of_two_equal_ids_is_refused(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "c.csv", "subject_id,image\na,1.png\nb,2.png\na,3.png\n")
    bad = only_bad(path)
    assert (bad.row, bad.code) == (4, "duplicate_subject")
    assert "c.csv row 4: subject_id 'a': must be unique, is also in row 2" in bad.message
    assert [entry.subject_id for entry in read(path)] == ["a", "b", "a"]


@pytest.mark.parametrize("subject_id", ["a/b/c", "../..", ".", "Été 水 🫖", "a b", "-=+@", "x" * 200])
def test_ids_come_in_all_forms(tmp_path: Path, subject_id: str) -> None:
    [subject] = read(write_jsonl(tmp_path / "c.jsonl", {"subject_id": subject_id, "image": "a.png"}))
    assert isinstance(subject, Subject)
    assert subject.subject_id == subject_id


@pytest.mark.parametrize(
    ("subject_id", "message"),
    [
        ("x" * 500, "at most 200 characters, got 500"),
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        ("a\x00b", "must have no control characters"),
        ("a\u2028b", "must have no control characters"),
    ],
)
def test_ids_that_no_report_can_show_are_refused(tmp_path: Path, subject_id: str, message: str) -> None:
    bad = only_bad(write_jsonl(tmp_path / "c.jsonl", {"subject_id": subject_id, "image": "a.png"}))
    assert bad.code == "bad_subject_id"
    assert message in bad.message
    assert len(bad.message) < 200


def test_a_bad_line_of_jsonl_costs_itself_only(tmp_path: Path) -> None:
    good = {"subject_id": "a", "image": "a.png", "title": "line\u2028end"}
    raw = json.dumps(good, ensure_ascii=False).encode()
    lines = [
        b"\xef\xbb\xbf" + raw,
        b"",
        b"{",
        b"[1]",
        b'{"subject_id": "\xff"}',
        b'{"x": "\\ud800"}',
        b"[" * 99999,
    ]
    entries = read(write_jsonl(tmp_path / "c.jsonl", *lines))
    assert isinstance(entries[0], Subject)
    assert entries[0].attributes == {"title": "line\u2028end"}
    bad = [entry for entry in entries[1:] if isinstance(entry, BadRow)]
    assert [entry.row for entry in bad] == [3, 4, 5, 6, 7]
    assert {entry.code for entry in bad} == {"bad_row"}
    assert "c.jsonl row 3: must be a JSON object" in bad[0].message


def test_a_row_with_too_many_cells_costs_itself_only(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "c.csv", 'subject_id,image\na,a.png,red\nb,"b,1.png"\n')
    assert (
        only_bad(path).message == "c.csv row 2: has more cells than the header; quote cells that hold a comma"
    )
    assert read(path)[1].subject_id == "b"


def test_a_row_without_an_image_is_named(tmp_path: Path) -> None:
    bad = only_bad(write_csv(tmp_path / "c.csv", "subject_id,image\na\n"))
    assert (bad.code, bad.subject_id, bad.row) == ("no_image", "a", 2)


def test_prompts_of_a_row(tmp_path: Path) -> None:
    listed = {"subject_id": "a", "image": "a.png", "prompts": ["x, y", " ", "z"]}
    written = {"subject_id": "b", "image": "b.png", "prompts": "x, y| |z "}
    entries = read(write_jsonl(tmp_path / "c.jsonl", listed, written))
    assert [entry.prompts for entry in entries if isinstance(entry, Subject)] == [("x, y", "z")] * 2


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.csv", "subject_id,image\né,a.png\n".encode("latin-1"), "must be UTF-8, byte 17 is not"),
        ("c.parquet", b"no parquet", "must be a Parquet file"),
        ("c.xlsx", b"x", "must be a .csv, .jsonl or .parquet file, or a folder of images"),
    ],
)
def test_a_catalog_that_is_none(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read(write_csv(tmp_path / name, data))


def test_a_catalog_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="must be an existing file or folder, got none; check the path"):
        read(tmp_path / "none.csv")


def test_an_open_quote_is_named_with_its_row_and_costs_that_row_only(tmp_path: Path) -> None:
    """Case 02: read by the standard library, product b would be generated from d.jpg."""
    text = 'subject_id,title,image\na,x,a.jpg\nb,"27 in. monitor,b.jpg\nc,x,c.jpg\nd,"y",d.jpg\ne,x,e.jpg\n'
    entries = read(write_csv(tmp_path / "c.csv", text))
    images = {e.subject_id: Path(e.image).name for e in entries if isinstance(e, Subject)}
    assert images == {"a": "a.jpg", "c": "c.jpg", "d": "d.jpg", "e": "e.jpg"}
    assert only_bad(tmp_path / "c.csv").message == (
        "c.csv row 3: cell 2: the quote that opens here is not closed in its row; close it, or double it if it is text"
    )


def test_what_a_folder_leaves_out_is_counted(tmp_path: Path) -> None:
    for name in [
        "a.jpg",
        "cup/1.png",
        "cup/2.png",
        "cup/3.png",
        ".hidden.jpg",
        "@eaDir/a.jpg/T.jpg",
        "b.psd",
    ]:
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(b"")
    left_out = LeftOut()
    assert [entry.subject_id for entry in read(tmp_path, left_out=left_out)] == ["a", "cup"]
    assert sorted(left_out.counts.values()) == [1, 2, 2]
    assert "left out: 2 further photos of sub-folders" in " ".join(left_out.lines())
