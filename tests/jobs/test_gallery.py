"""The gallery's files: what they hold, that they are harmless and that they are always the same bytes."""

from __future__ import annotations

import html
import io
import json
import re
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from dreamcache.core.errors import DreamCacheError
from jobs.gallery import shown_subjects, write_gallery
from jobs.output.review_columns import names_cell, names_of

NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"q\" 'a' & \u2028 Été 水"


def row(number: int, **changes: Any) -> dict[str, Any]:
    item_id = f"{number:064x}"
    values = {
        "item_id": item_id,
        "subject_id": f"sku-{number // 3}",
        "class_name": "teapot",
        "image": f"s3://catalog/{number // 3}.jpg",
        "prompt": f"a photo of a teapot, scene {number % 3}",
        "sample": 0,
        "seed": 2**62 + number,
        "status": "done",
        "key": f"images/{item_id[:2]}/{item_id}.png",
        "code": None,
        "message": None,
        "width": 64,
        "height": 64,
        "color": "red",
        "attempts": 1,
    }
    return values | changes


def build(rows: list[dict[str, Any]], **options: Any) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    given = {"references": {}, "title": "Shop"} | options
    write_gallery(manifest=pa.Table.from_pylist(rows), write=files.__setitem__, **given)
    return files


def payload(files: dict[str, bytes]) -> dict[str, Any]:
    text = files["gallery/data.js"].decode("ascii")
    found = re.fullmatch(r"window\.GALLERY_DATA = (\".*\");\n", text)
    assert found
    loaded: dict[str, Any] = json.loads(json.loads(found[1]))
    return loaded


def photo() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (60, 30)).save(out, "PNG")
    return out.getvalue()


def test_counts_are_of_the_whole_manifest() -> None:
    rows = [row(n) for n in range(6)]
    rows[4] |= {"status": "failed", "key": None, "code": "bad_image", "message": "photo 4: empty"}
    rows[5] |= {"status": "blocked", "key": None, "code": "low_quality", "message": "score 0.1"}
    page = build(rows, limit=3)["gallery/index.html"].decode()
    assert "<strong>4 images</strong> of <strong>2 subjects</strong>" in page
    for text in ("All <b>6</b>", "Done <b>4</b>", "Failed <b>1</b>", "Blocked <b>1</b>"):
        assert text in page
    assert "first 3 of 6 items" in page
    assert "first" not in build(rows)["gallery/index.html"].decode().split("<main")[0].split("masthead")[-1]


def test_items_carry_what_the_card_shows() -> None:
    failed = {"status": "failed", "key": None, "code": "bad_image", "message": "photo: empty"}
    loaded = payload(build([row(0), row(1, **failed)]))
    (subject,) = loaded["subjects"]
    assert subject == ["sku-0", "teapot", "s3://catalog/0.jpg", None, [["color", "red"]]]
    done, lost = loaded["items"]
    assert loaded["texts"][done[2]] == "a photo of a teapot, scene 0"
    assert done[4] == str(2**62), "a seed must not pass through a browser's 53-bit numbers"
    assert [loaded["texts"][lost[7]], loaded["texts"][lost[8]]] == ["bad_image", "photo: empty"]


def test_scores_of_a_quality_gate_go_with_their_item() -> None:
    gated = {"tries": 2, "image_score": 0.81234, "text_score": None, "verdict": "passed"}
    kept, free = payload(build([row(0, **gated), row(1, **dict.fromkeys(gated))]))["items"]
    assert (kept[11], free[11]) == ([0.8123, None, 2], None)


def test_any_column_of_numbers_is_a_score_and_nan_is_none() -> None:
    rows = [
        row(0, image_score=0.5, text_score=float("nan"), seconds=2.0, tries=2),
        row(1, image_score=None, text_score=1e-9, tries=1),
    ]
    loaded = payload(build(rows))
    assert loaded["about"]["scores"] == ["image_score", "text_score", "tries"]
    assert [item[13] for item in loaded["items"]] == [[0.5, None, 2], [None, 0.0, 1]]


def test_what_was_reviewed_goes_with_its_item() -> None:
    stated = {
        "review": "rejected",
        "reviewer": names_cell(["ana", "Müller, Ben"]),
        "review_reason": "artifacts",
        "review_note": NASTY,
    }
    loaded = payload(build([row(0, **stated), row(1, **(dict.fromkeys(stated) | {"review": "pending"}))]))
    state, reviewers, *texts, moment = loaded["items"][0][14]
    assert moment == 0
    assert [loaded["texts"][n] for n in reviewers] == ["ana", "Müller, Ben"]
    assert [state, *(loaded["texts"][n] for n in texts)] == ["rejected", "artifacts", NASTY]
    assert loaded["items"][1][14] is None


def test_any_names_are_read_as_they_were_written() -> None:
    for names in ([], ["ana"], ["ana", "ben"], ["a, b", 'c"d', '"', "e\nf", " g", "h,"], ["=1+1"]):
        assert names_of(names_cell(names)) == [name.lstrip(" ") for name in names]
    assert names_cell(["ana", "ben"]) == "ana, ben"
    assert names_of('ana "the boss\r\n') == ['ana "the boss']


def test_large_galleries_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.gallery.build.PART_ITEMS", 4)
    files = build([row(n) for n in range(9)])
    assert payload(files)["about"]["parts"] == 3
    names = [key for key in files if key.endswith(".js")]
    assert names == ["gallery/data.js", "gallery/data-00001.js", "gallery/data-00002.js"]
    later = payload({"gallery/data.js": files["gallery/data-00002.js"]})
    assert "about" not in later and len(later["items"]) == 1 and later["subjects"][0][0] == "sku-2"


def test_pending_items_and_renamed_columns() -> None:
    extra = {"uri": "s3://bucket/x.png", "catalog_status": "in stock", "catalog_no": "7"}
    files = build([row(0, status="pending", key=None, **extra)])
    page = files["gallery/index.html"].decode()
    assert 'aria-pressed="false" >Pending <b>1</b>' in page
    assert "hidden>Pending <b>0</b>" in build([row(0)])["gallery/index.html"].decode()
    details = payload(files)["subjects"][0][4]
    assert details == [["color", "red"], ["status", "in stock"], ["catalog_no", "7"]]


def test_links_are_relative_and_quoted() -> None:
    files = build([row(0, key="images/ab/50% #1?.png")], references={"sku-0": photo()})
    loaded = payload(files)
    assert loaded["items"][0][6] == "images/ab/50%25%20%231%3F.png"
    reference = loaded["subjects"][0][3]
    assert re.fullmatch(r"references/[0-9a-f]{32}\.png", reference)
    assert f"gallery/{reference}" in files
    page = files["gallery/index.html"].decode()
    assert "http://" not in page and "https://" not in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data.js", "data:,"}


def test_subject_ids_never_become_paths() -> None:
    names = ["../../etc/passwd", "a/b", "..", "é" * 400, NASTY]
    rows = [row(n, subject_id=name) for n, name in enumerate(names)]
    files = build(rows, references={name: photo() for name in names})
    references = [key for key in files if key.startswith("gallery/references/")]
    assert len(references) == len(names)
    assert all(re.fullmatch(r"gallery/references/[0-9a-f]{32}\.png", key) for key in references)


def test_catalog_text_is_harmless() -> None:
    nasty = dict.fromkeys(("subject_id", "class_name", "image", "prompt", "message", "color"), NASTY)
    files = build([row(0, status="failed", **nasty)], title=NASTY, source=NASTY)
    script = files["gallery/data.js"].decode("ascii")
    assert not set("<>&") & set(script)
    assert payload(files)["subjects"][0][0] == NASTY
    page = files["gallery/index.html"].decode()
    assert "<img" not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert f"<h1>{html.escape(NASTY)}</h1>" in page


def test_policy_forbids_all_but_the_page_itself() -> None:
    page = build([row(0)])["gallery/index.html"].decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    assert policy[1].startswith("default-src 'none'; ")
    assert "unsafe" not in policy[1] and "http" not in policy[1]


def test_same_input_same_bytes() -> None:
    rows, references = [row(n) for n in range(9)], {"sku-1": photo()}
    assert build(rows, references=references) == build(rows, references=references)


def test_page_is_written_last() -> None:
    assert list(build([row(0)], references={"sku-0": photo()}))[-1] == "gallery/index.html"


def test_only_shown_subjects_have_references() -> None:
    rows = [row(n) for n in range(9)]
    table = pa.Table.from_pylist(rows)
    assert shown_subjects(table, limit=4) == ["sku-0", "sku-1"]
    files = build(rows, limit=4, references={f"sku-{n}": photo() for n in range(3)})
    assert sum(key.startswith("gallery/references/") for key in files) == 2


def test_empty_manifest_and_foreign_manifest() -> None:
    files: dict[str, bytes] = {}
    empty = pa.Table.from_pylist([row(0)]).slice(0, 0)
    write_gallery(manifest=empty, references={}, write=files.__setitem__, title="Shop")
    loaded = payload(files)
    assert loaded.pop("about") == {"job": "", "serve": False, "reviewer": "", "parts": 1, "scores": []}
    assert loaded == {"subjects": [], "texts": [], "items": []}
    with pytest.raises(DreamCacheError, match="subject_id") as caught:
        write_gallery(
            manifest=pa.table({"item_id": ["x"]}), references={}, write=files.__setitem__, title="Shop"
        )
    assert caught.value.code == "bad_manifest"
