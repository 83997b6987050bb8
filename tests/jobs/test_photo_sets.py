"""Several photos of one product: every form of catalog gives one subject, and the set stands in the item id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dreamcache.core.errors import CatalogError, ImageError
from dreamcache.core.photo_sets import photos_of
from dreamcache.core.records import Photo, Subject
from jobs.planning.catalog import BadRow, read_catalog
from jobs.planning.planner import Plan, plan
from jobs.spec import parse_spec
from workers.context import request_of

LIST = {"images": "photos"}
VIEW = {"view": "angle"}


def read(path: Path, columns: dict[str, str], **options: Any) -> list[Subject | BadRow]:
    return list(read_catalog(str(path), columns=columns, **options))


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def names(entry: Subject | BadRow) -> list[str]:
    assert isinstance(entry, Subject), entry
    return [Path(photo.image).name for photo in entry.photos]


@pytest.mark.parametrize(
    "cell",
    [
        "a.png|b.png|c.png",
        " a.png | b.png |c.png|",
        '["a.png", "b.png", "c.png"]',
        "['a.png', 'b.png', 'c.png']",
    ],
)
def test_a_text_names_several_photos(tmp_path: Path, cell: str) -> None:
    """As people separate them, and as JSON and pandas write a list into a cell."""
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"subject_id": "x", "photos": cell}))
    [entry] = read(path, LIST)
    assert names(entry) == ["a.png", "b.png", "c.png"]


def test_a_list_column_of_parquet_and_json(tmp_path: Path) -> None:
    rows = [{"subject_id": "x", "photos": ["a.png", "b.png"]}, {"subject_id": "y", "photos": ["c.png"]}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, rows)))
    for suffix in ("parquet", "jsonl"):
        entries = read(tmp_path / f"c.{suffix}", LIST)
        assert [names(entry) for entry in entries] == [["a.png", "b.png"], ["c.png"]]


def test_a_main_photo_and_further_ones(tmp_path: Path) -> None:
    """One that is named twice counts once."""
    path = written(tmp_path / "c.csv", "subject_id,image_link,more\nx,a.png,b.png|a.png\ny,c.png,\n")
    entries = read(path, {"image": "image_link", "images": "more"})
    assert [names(entry) for entry in entries] == [["a.png", "b.png"], ["c.png"]]


def test_masks_stand_beside_their_photos(tmp_path: Path) -> None:
    text = (
        "subject_id,photos,mask\nx,a.png|b.png,|m.png\ny,a.png|b.png,m.png\nz,a.png|b.png|c.png,m.png|n.png\n"
    )
    one, two, three = read(written(tmp_path / "c.csv", text), LIST)
    assert isinstance(one, Subject) and isinstance(two, Subject) and isinstance(three, BadRow)
    assert [Path(photo.mask or "").name for photo in one.photos] == ["", "m.png"]
    assert [Path(photo.mask or "").name for photo in two.photos] == ["m.png", ""]
    assert "one mask for each of the 3 photos" in three.message


def test_rows_of_one_subject_are_views_wherever_they_stand(tmp_path: Path) -> None:
    text = (
        "subject_id,image,angle,color,prompts\nx,a.png,front,,p|q\ny,c.png,front,red,\n"
        "x,b.png,back,blue,q|r\nz,d.png,,,\n"
    )
    entries = read(written(tmp_path / "c.csv", text), VIEW)
    assert [(entry.subject_id, names(entry)) for entry in entries] == [
        ("y", ["c.png"]),
        ("x", ["a.png", "b.png"]),
        ("z", ["d.png"]),
    ]
    joined = entries[1]
    assert isinstance(joined, Subject)
    assert joined.prompts == ("p", "q", "r")
    assert joined.attributes == {"angle": "front", "color": "blue"}


def test_a_row_that_repeats_a_view_or_names_no_photo_costs_itself(tmp_path: Path) -> None:
    text = "subject_id,image,angle\nx,a.png,front\nx,b.png,front\nx,,back\nx,c.png,side\ny,d.png,\ny,e.png,\n"
    entries = read(written(tmp_path / "c.csv", text), VIEW)
    bad = [entry for entry in entries if isinstance(entry, BadRow)]
    assert [entry.code for entry in bad] == ["duplicate_subject", "no_image", "duplicate_subject"]
    assert "view 'front' must be unique, is also in row 2" in bad[0].message
    assert "rename one" in bad[2].message
    good = [names(entry) for entry in entries if isinstance(entry, Subject)]
    assert good == [["a.png", "c.png"], ["d.png"]]


def test_two_rows_of_a_subject_without_a_mapped_view_are_a_mistake(tmp_path: Path) -> None:
    text = "subject_id,image,view,images\nx,a.png,front,9\nx,b.png,back,9\n"
    first, second = read(written(tmp_path / "c.csv", text), {})
    assert isinstance(first, Subject) and names(first) == ["a.png"]
    assert first.attributes == {"view": "front", "images": "9"}, "columns of these names keep their meaning"
    assert isinstance(second, BadRow) and second.code == "duplicate_subject"


def test_more_photos_than_the_job_takes_cost_the_subject(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", "subject_id,photos\nx,a|b|c|d|e\ny,a|b|c|d\n")
    first, second = read(path, LIST)
    assert isinstance(first, BadRow) and first.code == "too_many_photos"
    assert "at most 4 photos, has 5; name fewer, or raise limits.max_photos" in first.message
    assert len(names(second)) == 4
    assert len(names(read(path, LIST, max_photos=5)[0])) == 5
    rows = written(
        tmp_path / "v.csv", "subject_id,image,angle\n" + "".join(f"x,{n}.png,{n}\n" for n in range(5))
    )
    [views] = read(rows, VIEW)
    assert isinstance(views, BadRow) and views.code == "too_many_photos"


@pytest.mark.parametrize("cell", ["[" * 5000, "[" * 5000 + "]" * 5000, "|" * 131_000, '["a.png", 7]', "[]"])
def test_a_hostile_cell_costs_its_row(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "c.jsonl"
    rows = [{"subject_id": "x", "photos": cell}, {"subject_id": "y", "photos": "b.png"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = read(path, LIST)
    assert names(second) == ["b.png"]
    assert isinstance(first, BadRow) or len(first.photos) == 1


def test_an_unknown_name_of_ours_lists_those_of_photo_sets(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="images, view"):
        read(written(tmp_path / "c.csv", "subject_id,image\nx,a\n"), {"imagess": "photos"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, color in (("a", "red"), ("b", "green"), ("c", "blue")):
        Image.new("RGB", (64, 64), color).save(folder / f"{name}.png")
    return folder


def planned(folder: Path, *rows: str, columns: dict[str, str] = LIST, **changes: Any) -> Plan:
    catalog = written(folder / "c.csv", "subject_id,photos\n" + "\n".join(rows) + "\n")
    values = {
        "name": "j",
        "catalog": str(catalog),
        "output": str(folder / "o"),
        "prompts": ["a mug"],
        **changes,
    }
    return plan(parse_spec({**values, "columns": columns}))


def test_one_photo_has_the_id_that_it_has_alone(folder: Path) -> None:
    """The pinned ids of jobs are those of single photos; a list of one is no other item."""
    several = planned(folder, "x,a.png").table.to_pylist()
    alone = planned(folder, "x,a.png", columns={"image": "photos"}).table.to_pylist()
    assert several == alone
    assert several[0]["photo_set"] is None


def test_adapters_read_a_set_without_an_order(folder: Path) -> None:
    rows = [planned(folder, f"x,{cell}").table.to_pylist()[0] for cell in ("a.png|b.png", "b.png|a.png")]
    assert [{**row, "attributes": ""} for row in rows[:1]] == [{**row, "attributes": ""} for row in rows[1:]]
    other, alone = (planned(folder, f"x,{cell}").table.to_pylist()[0] for cell in ("a.png|c.png", "a.png"))
    assert len({row["item_id"] for row in (*rows, other, alone)}) == 3
    photos = photos_of(request_of(rows[0]))
    assert [photo.cache_key for photo in photos] == sorted(photo.cache_key for photo in photos)
    assert alone["cache_key"] in {photo.cache_key for photo in photos}, "each photo is cached by itself"
    assert rows[0]["reference_id"] == photos[0].reference_id


def test_one_photo_that_cannot_be_read_fails_the_items_of_its_subject(folder: Path) -> None:
    rows = planned(folder, "x,a.png|gone.png", "y,b.png").table.to_pylist()
    assert [row["code"] for row in rows] == ["missing_image", None]
    assert "gone.png" in rows[0]["message"]


def test_a_photo_outside_of_the_roots_is_refused_in_any_place_of_the_set(
    folder: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "secret.png")
    made = planned(folder, f"x,a.png|{tmp_path}/secret.png")
    assert made.table["code"].to_pylist() == ["outside_roots"]
    assert made.outside_roots


def test_a_method_that_reads_one_photo_says_so(folder: Path) -> None:
    rows = planned(folder, "x,a.png|b.png", "y,c.png", method="text-only").table.to_pylist()
    assert [row["code"] for row in rows] == ["too_many_photos", None]
    assert "reads one photo of a product, got 2" in rows[0]["message"]


@pytest.mark.parametrize(
    "forge",
    [
        lambda text: "[" * 9000,
        lambda text: "{}",
        lambda text: text.replace("a.png", "b.png").replace("reference_id", "other"),
        lambda text: json.dumps(json.loads(text)[::-1]),
        lambda text: json.dumps(json.loads(text)[:1]),
        lambda text: json.dumps([{**one, "mask": 3} for one in json.loads(text)]),
    ],
)
def test_a_plan_row_whose_photos_are_not_its_keys_is_refused(folder: Path, forge: Any) -> None:
    """Replay reads plans that others may have written."""
    row = planned(folder, "x,a.png|b.png").table.to_pylist()[0]
    with pytest.raises(ImageError) as error:
        photos_of(request_of({**row, "photo_set": forge(row["photo_set"])}))
    assert error.value.code == "bad_photo_set"


def test_the_subject_of_one_row_has_its_photo_alone() -> None:
    subject = Subject(subject_id="x", class_name="mug", image="a.png", mask="m.png")
    assert subject.photos == (Photo(image="a.png", mask="m.png"),)
