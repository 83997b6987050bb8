"""A training on data as people have it: 2 % bad samples of ten kinds, trained to the end, each named once.

make bad-data     # 8,000 samples; the suite runs a tenth of them
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.train import DataSettings, IntervalSettings
from dreamcache.core.errors import ImageError
from dreamcache.training.bad_samples import BadSample, bad_samples_csv, listed_bad_samples
from dreamcache.training.checkpoints import TrainFolder
from dreamcache.training.dataset import Samples
from dreamcache.training.loop import TrainLoop
from tests.train_samples import picture, write_folder, write_tar
from tests.training.trainers import KEEP_ALL, MakeTrainer

COUNT = int(os.environ.get("DREAMCACHE_BAD_DATA", "800"))
SIDE, BATCH = 32, 16


def png(pixels: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(out, "PNG")
    return out.getvalue()


def missing(image: Path, mask: Path) -> None:
    image.unlink()


def truncated(image: Path, mask: Path) -> None:
    image.write_bytes(image.read_bytes()[:200])


def empty(image: Path, mask: Path) -> None:
    image.write_bytes(b"")


def tiny(image: Path, mask: Path) -> None:
    image.write_bytes(png(np.zeros((1, 1, 3))))


def web_page(image: Path, mask: Path) -> None:
    image.write_bytes(b"<!doctype html><title>404</title>")


def maskless(image: Path, mask: Path) -> None:
    mask.unlink()


def zero_mask(image: Path, mask: Path) -> None:
    mask.write_bytes(png(np.zeros((SIDE, SIDE))))


def other_mask(image: Path, mask: Path) -> None:
    mask.write_bytes(png(np.full((SIDE, SIDE // 2), 255)))


FILES: dict[str, Callable[[Path, Path], None]] = {
    "missing_image": missing, "truncated_image": truncated, "empty_file": empty, "too_small": tiny,
    "not_an_image": web_page, "no_mask": maskless, "empty_mask": zero_mask, "mask_size_mismatch": other_mask,
}  # fmt: skip
LINES = {
    "bad_metadata": lambda name: f'["{name}", "a list"]',
    "bad_caption": lambda name: json.dumps({"file_name": name, "caption": None}),
}
KINDS = (*FILES, *LINES)


def write(folder: Path, count: int) -> Counter[str]:
    """Samples of random boxes; every fiftieth is bad, of each kind in turn. How many there are of each kind."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    rng, lines, kinds = np.random.default_rng(0), [], Counter[str]()
    mask = np.zeros((SIDE, SIDE))
    mask[8:24, 8:24] = 255
    cover = png(mask)
    for number in range(count):
        name = f"{number:05d}.png"
        image, beside = folder / "images" / name, folder / "masks" / name
        image.write_bytes(png(rng.integers(0, 255, (SIDE, SIDE, 3))))
        beside.write_bytes(cover)
        line = json.dumps({"file_name": name, "caption": f"box {number}"})
        if number % 50 == 49:
            kind = KINDS[number // 50 % len(KINDS)]
            kinds[kind] += 1
            if kind in FILES:
                FILES[kind](image, beside)
            line = LINES[kind](name) if kind in LINES else line
        lines.append(line)
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return kinds


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_ten_kinds_of_bad_samples_are_trained_past_and_named_once(make: MakeTrainer, tmp_path: Path) -> None:
    kinds = write(tmp_path / "data", COUNT)
    assert len(kinds) == len(KINDS) == 10 and sum(kinds.values()) == COUNT // 50
    data = DataSettings(
        path=str(tmp_path / "data"), on_no_mask="skip", max_bad_share=0.03, validation_samples=64
    )
    trainer = make(
        data=data,
        loss=KEEP_ALL,
        every=IntervalSettings(log=10, checkpoint=25, validate=1000, levels=(500,)),
        size=2 * SIDE,
        global_batch=BATCH,
        micro_batch=BATCH,
        steps=-(-(COUNT - 64) // BATCH),
    )
    out = tmp_path / "out"
    assert TrainLoop(trainer, TrainFolder(str(out)), name="bad").run() is not None
    rows = list(csv.DictReader((out / "bad_samples.csv").open(newline="")))
    assert [int(row["sample"]) for row in rows] == list(range(49, COUNT, 50)), "each once, in order"
    assert Counter(row["code"] for row in rows) == kinds
    assert all(row["where"] and row["message"] for row in rows)
    assert (out / "adapter" / "config.json").exists() and trainer.step == trainer.settings.steps


def test_the_list_and_its_limit_outlive_a_resume(make: MakeTrainer, tmp_path: Path) -> None:
    """A list that someone has damaged costs the lines that are damaged."""
    folder = write_folder(tmp_path / "data", 8)
    data = DataSettings(path=str(folder), max_bad_share=0.25, validation_samples=0)
    out, options = tmp_path / "out", {"data": data, "steps": 4, "global_batch": 4}
    loop = TrainLoop(make(**options), TrainFolder(str(out)), name="t")
    loop.trainer.bad = {
        number: BadSample(number=number, where="=1+1", code="bad_image", message='two "words"\n, one line')
        for number in (3, 5)
    }
    loop._list_bad()
    loop._save()
    loop.checkpoints.wait()
    listed = out / "bad_samples.csv"
    lines = (b"7,train,a,b", b"nine,train,a,b,c", b"99,train,a,b,c", b"0,validation,a,b,c", b"\xff\x00", b'"')
    listed.write_bytes(listed.read_bytes() + b"\r\n".join(lines))
    again = TrainLoop(make(**options), TrainFolder(str(out)), name="t")
    assert again.num_bad == 2 and again.trainer.all_bad() == [
        BadSample(number=number, where="=1+1", code="bad_image", message='two "words" , one line')
        for number in (3, 5)
    ]
    with pytest.raises(ImageError, match="3 of 8 samples cannot be used") as error:
        again.trainer._note_bad([BadSample(number=6, where="w", code="c", message="m")])
    assert error.value.code == "too_many_bad_samples"
    listed.unlink()
    assert TrainLoop(make(**options), TrainFolder(str(out)), name="t").num_bad == 0


def test_images_beside_their_metadata_and_one_bad_line(tmp_path: Path) -> None:
    """Hugging Face's imagefolder, its metadata written by hand or by pandas."""
    write(tmp_path, 60)
    for image in (tmp_path / "images").iterdir():
        image.rename(tmp_path / image.name)
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    lines[3] = "{not json"
    lines[5] = '{"file_name": "../../etc/passwd", "caption": "x"}'
    lines[6] = '{"file_name": "00006.png", "caption": NaN}'
    lines[7] = '{"file_name": "00007.png", "caption": ["one", "two"]}'
    lines[8] = '{"file_name": "00008.png", "caption": ""}'
    (tmp_path / "metadata.jsonl").write_text("\ufeff" + "\n\n".join(lines), "utf-8")
    samples = Samples(DataSettings(path=str(tmp_path), max_bad_share=1), str(tmp_path))
    assert len(samples) == 60
    for number in range(10):
        samples.read([number, 0])
    assert {number: bad.code for number, bad in samples.bad.items()} == {
        3: "bad_metadata", 5: "bad_metadata", 6: "bad_caption", 7: "bad_caption",
    }  # fmt: skip
    assert samples.bad[3].where.endswith("metadata.jsonl row 4")
    _, sample = samples.read([8])
    assert sample.caption == "" and sample.mask is not None


def test_half_a_surrogate_pair_in_a_caption_is_one_bad_sample(tmp_path: Path) -> None:
    """JSON can write what no text holds; a tokenizer raises TypeError for it."""
    text = json.dumps({"caption": "a mug \ud83d"})
    folder = write_folder(tmp_path / "folder", 4)
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    lines[1] = json.dumps({"file_name": "001.png"})[:-1] + ", " + text[1:]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    tars = tmp_path / "tars"
    tars.mkdir()
    parts: dict[str, bytes] = {}
    for number in range(4):
        image, mask, caption = picture(number)
        row = text if number == 1 else json.dumps({"caption": caption})
        parts |= {f"{number}.png": image, f"{number}.mask.png": mask, f"{number}.json": row.encode()}
    write_tar(tars / "0.tar", parts)
    for path, where in ((folder, "metadata.jsonl row 2"), (tars, "0.tar: /1")):
        samples = Samples(DataSettings(path=str(path), max_bad_share=1), str(path))
        assert samples.read([1, 2])[0] == 2
        (bad,) = samples.bad.values()
        assert bad.code == "bad_caption" and bad.where.endswith(where)
        (listed,) = listed_bad_samples(bad_samples_csv([bad]))
        assert r"must be a text in UTF-8, got '\ud83d' at character 7" in listed.message


def test_members_without_an_image_are_bad_samples(tmp_path: Path) -> None:
    """Each counts and is listed with what there is; hidden files, as macOS adds, are no samples."""
    image, mask, caption = picture(0)
    text = caption.encode()
    parts = {"0.png": image, "0.mask.png": mask, "0.txt": text, "._0.png": b"", "a/.DS_Store": b""}
    parts |= {
        "1.txt": text,
        "1.mask.png": mask,
        "2.bmp": image,
        "2.txt": text,
        "3.v2.png": image,
        "3.txt": text,
    }
    write_tar(tmp_path / "0.tar", parts)
    samples = Samples(DataSettings(path=str(tmp_path), max_bad_share=0.75), str(tmp_path))
    assert len(samples) == 4
    assert samples.read([1, 2, 3, 0])[0] == 0
    listed = listed_bad_samples(bad_samples_csv(samples.bad.values()))
    assert [one.code for one in listed] == ["missing_image"] * 3
    found = (".mask.png .txt", ".bmp .txt", ".txt .v2.png")
    for one, number, extensions in zip(listed, (1, 2, 3), found, strict=True):
        assert (
            one.where.endswith(f"0.tar: /{number}") and f"<key>.webp, got {extensions}; add it" in one.message
        )
    strict = Samples(DataSettings(path=str(tmp_path), max_bad_share=0.5), str(tmp_path))
    with pytest.raises(ImageError, match="3 of 4 samples cannot be used"):
        strict.read([1, 2, 3, 0])
