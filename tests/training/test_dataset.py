"""Training data: three forms of the same samples, an order without state, the transform (docs/method.md section 4)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dreamcache.core.config.train import DataSettings, LossSettings, TransformSettings
from dreamcache.core.errors import CatalogError, ImageError
from dreamcache.storage.open_store import store_for
from dreamcache.training.dataset import Samples, TrainItems, kept_conditions, noise_share
from dreamcache.training.order import epoch_windows
from dreamcache.training.sources import open_source
from dreamcache.training.transform import ItemShape, reference_view, target_view
from tests.train_samples import COLOURS, photo, picture, write_folder, write_parquet, write_tars

SIZE = 96
PLAIN = TransformSettings(flip_p=0, jitter_p=0, erase_p=0)
WRITERS = {"folder": write_folder, "parquet": write_parquet, "webdataset": write_tars}


def product() -> tuple[Image.Image, np.ndarray]:
    """A red and blue product of 30 x 10 pixels on green."""
    pixels = np.zeros((50, 60, 3), np.uint8)
    pixels[:] = (0, 200, 0)
    mask = np.zeros((50, 60), bool)
    mask[20:30, 10:40] = True
    pixels[20:30, 10:25], pixels[20:30, 25:40] = (255, 0, 0), (0, 0, 255)
    return Image.fromarray(pixels), mask


def view(seed: int, settings: TransformSettings = PLAIN) -> np.ndarray:
    image, mask = product()
    made = reference_view(image, mask, settings, size=SIZE, rng=np.random.default_rng(seed))
    assert made.size == (SIZE, SIZE)
    return np.asarray(made).astype(int)


def extent(pixels: np.ndarray, below: int = 128) -> tuple[int, int, int, int]:
    """Left, top, width and height of what is not white."""
    marked = pixels.min(axis=2) < below
    columns, rows = np.flatnonzero(marked.any(0)), np.flatnonzero(marked.any(1))
    return columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1


def items(path: Path, **changes: Any) -> TrainItems:
    settings = {
        "seed": 3,
        "global_batch": 4,
        "transform": TransformSettings(),
        "loss": LossSettings(),
        **changes,
    }
    data = Samples(DataSettings(path=str(path)), str(path))
    return TrainItems(data, ItemShape(size=32, latent=(4, 4, 4)), **settings)


def uploaded(folder: Path, uri: str) -> str:
    for file in folder.rglob("*.*"):
        store_for(uri).write(f"{uri}/{file.relative_to(folder)}", file.read_bytes())
    return uri


@pytest.mark.parametrize("place", ["local", "s3"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_form_gives_the_same_samples(
    kind: str, place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = str(WRITERS[kind](tmp_path / "data", 7))
    if place == "s3":
        path = uploaded(Path(path), f"{request.getfixturevalue('bucket')}/data")
    source = open_source(path)
    samples = [sample for shard in range(len(source.sizes)) for sample in source.open(shard)]
    assert [len(source.open(shard)) for shard in range(len(source.sizes))] == list(source.sizes)
    assert [(s.image, s.mask, s.caption) for s in samples] == [picture(number) for number in range(7)]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_sample_may_bring_its_own_reference(kind: str, tmp_path: Path) -> None:
    """Samples 1 and 4 bring a photo on white, 2 and 5 one with a mask, 0 and 3 are cut from the target as ever."""
    writer: Any = WRITERS[kind]
    path, without = writer(tmp_path / "data", 6, photos=True), writer(tmp_path / "without", 6)
    source = open_source(str(path))
    samples = [sample for shard in range(len(source.sizes)) for sample in source.open(shard)]
    assert [(s.reference, s.reference_mask) for s in samples] == [photo(number) for number in range(6)]

    with_photos, plain = items(path, transform=PLAIN), items(without, transform=PLAIN)
    for position in range(6):
        number = with_photos.order.number(position)
        item, other = with_photos[position], plain[position]
        assert all(np.array_equal(item[name], other[name]) for name in ("pixels", "mask", "noise"))
        shown = ((item["reference"].transpose(1, 2, 0) + 1) * 127.5).astype(int)
        if number % 3 == 0:
            assert np.array_equal(item["reference"], other["reference"])
            continue
        left, top, width, height = extent(shown, below=200)
        assert height > 1.7 * width  # the photo's upright box, not the target's lying one
        middle = shown[top + height // 2, left + width // 2]
        assert abs(middle - COLOURS[number % len(COLOURS)]).max() < 12
        if number % 3 == 1:  # the photo as it is: 16 x 32 of 64 pixels, in the middle
            assert abs(np.subtract((left, top, width, height), (12, 8, 8, 16))).max() <= 1
        else:  # cut out: at least 0.7 of the frame, and none of the grey about it
            assert height >= 0.7 * 32 - 2 and (shown[0, 0] == 255).all()


def test_own_references_are_flipped_jittered_and_erased_as_well() -> None:
    image = Image.new("RGB", (40, 40), "white")
    image.paste((255, 0, 0), (4, 10, 20, 30))
    image.paste((0, 0, 255), (20, 10, 36, 30))

    def made(seed: int, **changes: float) -> np.ndarray:
        settings = TransformSettings(**{"flip_p": 0, "jitter_p": 0, "erase_p": 0, **changes})
        rng = np.random.default_rng(seed)
        return np.asarray(reference_view(image, None, settings, size=40, rng=rng, framed=True)).astype(int)

    assert np.array_equal(made(1), np.asarray(image))
    assert np.array_equal(made(1, flip_p=1), np.asarray(image)[:, ::-1])
    assert (made(1, jitter_p=1) != made(1)).any() and (made(1, erase_p=1) != made(1)).any()


def test_a_sample_with_a_reference_needs_no_mask(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 2, photos=True)
    for file in (path / "masks").iterdir():
        file.unlink()
    samples = Samples(DataSettings(path=str(path)), str(path))
    _, sample = samples.read([1])
    assert sample.mask is None and sample.framed
    with pytest.raises(CatalogError, match="needs a mask of its subject or a reference photo"):
        samples.read([0])


def test_equal_names_in_two_folders_are_two_samples(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 2)
    for part in ("images", "masks"):
        for number, name in enumerate("ab"):
            (path / part / name).mkdir()
            (path / part / f"{number:03d}.png").rename(path / part / name / "1.png")
    lines = [json.dumps({"file_name": f"{name}/1.png", "caption": name}) for name in "ab"]
    (path / "metadata.jsonl").write_text("\n".join(lines))
    samples = open_source(str(path)).open(0)
    assert [sample.mask for sample in samples] == [picture(0)[1], picture(1)[1]]


def test_unknown_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(CatalogError, match=r"must hold images/ with metadata.jsonl"):
        open_source(str(tmp_path))


def test_subject_is_large_and_inside_on_white() -> None:
    lefts, tops = set(), set()
    for seed in range(60):
        pixels = view(seed)
        left, top, width, height = extent(pixels)
        assert 0.7 * SIZE - 2 <= width <= SIZE
        assert abs(height - width / 3) <= 2
        assert not (pixels[..., 1] > pixels[..., 0] + 60).any()  # nothing of the green background
        lefts.add(left)
        tops.add(top)
    assert len(lefts) > 10
    assert min(tops) < 8 and max(tops) > SIZE - 40  # a narrow subject reaches both edges


@pytest.mark.parametrize("size", [(80, 40), (40, 80)])
def test_the_target_and_its_mask_are_the_same_centre_square(size: tuple[int, int]) -> None:
    """A 2:1 photo whose subject is the left (upper) half of the centre square, and a mark outside the square."""
    width, height = size
    left, top = (width - 40) // 2, (height - 40) // 2
    mask = np.zeros((height, width), bool)
    mask[top : top + 40, left : left + 20] = True
    mask[:5, :5] = True
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[mask] = (255, 0, 0)
    target = target_view(Image.fromarray(pixels), mask, ItemShape(size=64, latent=(4, 8, 8)))
    assert target["mask"].shape == (1, 8, 8)
    assert (target["mask"][0, :, :4] == 1).all() and (target["mask"][0, :, 4:] == 0).all()
    green = target["pixels"][1]
    assert green[:, :28].mean() < -0.9 and green[:, 36:].mean() > 0.9


def test_jitter_keeps_transparency() -> None:
    """Colours of an RGBA photo change, what is transparent stays white."""
    pixels = np.zeros((40, 40, 4), np.uint8)
    pixels[10:30, 10:30] = (200, 40, 40, 255)
    pixels[:10] = (0, 0, 0, 0)
    photo_alpha = Image.fromarray(pixels)
    settings = TransformSettings(min_side=1, flip_p=0, erase_p=0, jitter_p=1)
    plain = TransformSettings(min_side=1, flip_p=0, erase_p=0, jitter_p=0)
    for seed in range(5):
        jittered, same = (
            np.asarray(
                reference_view(
                    photo_alpha, None, chosen, size=40, rng=np.random.default_rng(seed), framed=True
                )
            )
            for chosen in (settings, plain)
        )
        outside = np.ones((40, 40), bool)
        outside[10:30, 10:30] = False
        assert (jittered[outside] == 255).all() and (same[outside] == 255).all()
        assert (jittered[~outside] != same[~outside]).any()


def test_same_seed_same_pixels() -> None:
    settings = TransformSettings(jitter_p=1, erase_p=1)
    assert (view(5, settings) == view(5, settings)).all()
    assert (view(5, settings) != view(6, settings)).any()


def test_flip_jitter_and_erasing() -> None:
    def red_is_left(pixels: np.ndarray) -> bool:
        left, top, width, height = extent(pixels)
        return bool(pixels[top + height // 2, left + width // 4, 0] > 128)

    assert all(red_is_left(view(seed)) for seed in range(5))
    flips = [red_is_left(view(seed, TransformSettings(jitter_p=0, erase_p=0))) for seed in range(60)]
    assert 15 < sum(flips) < 45
    jittered = view(1, TransformSettings(flip_p=0, erase_p=0, jitter_p=1))
    assert (jittered[0, 0] == 255).all() and (jittered != view(1)).any()
    for seed in range(20):
        erasing = TransformSettings(flip_p=0, jitter_p=0, erase_p=1)
        lost = (view(seed, erasing) != view(seed)).any(axis=2).mean()
        assert lost <= 0.27


def test_order_is_a_permutation_within_windows() -> None:
    sizes = [5, 3, 4, 6]
    spans = [(2, 5), (5, 8), (8, 12), (12, 18)]

    def order_of(epoch: int) -> np.ndarray:
        return np.concatenate(epoch_windows(spans, 7, epoch, 2))

    order = order_of(0)
    assert sorted(order) == list(range(2, 18))
    assert (order_of(0) == order).all()
    assert (order_of(1) != order).any()
    shards = np.searchsorted(np.cumsum(sizes), order, side="right")
    assert not set(shards[: -len(shards) // 2]) >= {0, 1, 2, 3}


def test_noise_levels_and_dropped_conditions() -> None:
    shares = sorted(noise_share(0, position, 16, 0.5) for position in range(32, 48))
    assert np.allclose(shares, (np.arange(16) + 0.5) / 16)
    levels = [[noise_share(0, step * 16 + row, 16, 0.5) for step in range(8)] for row in range(16)]
    assert all(
        len(set(of_row)) > 3 for of_row in levels
    )  # a row of the batch has another level at another step
    settings = LossSettings(drop_text=0.1, drop_image=0.2, drop_both=0.3)
    kept = [kept_conditions(settings, u) for u in (np.arange(1000) + 0.5) / 1000]
    assert [kept.count(pair) for pair in ((False, True), (False, False), (True, False))] == [100, 300, 200]


@pytest.mark.parametrize("write", WRITERS.values())
def test_an_item_follows_from_its_position_alone(write: Callable[[Path, int], Path], tmp_path: Path) -> None:
    path = write(tmp_path / "data", 6)
    first, again = items(path), items(path)
    later = [first[position] for position in range(8)][7]
    for name, value in again[7].items():
        assert np.array_equal(later[name], value), name
    shapes = {name: np.shape(value) for name, value in later.items() if name not in ("caption", "share")}
    assert shapes["pixels"] == shapes["reference"] == (3, 32, 32)
    assert shapes["noise"] == (4, 4, 4) and shapes["mask"] == (1, 4, 4)
    assert -1 <= later["reference"].min() and later["reference"].max() == 1
    assert 0 < later["mask"].mean() < 0.3


def test_a_bad_sample_is_replaced_and_too_many_end_it(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 4)
    (path / "images" / "001.png").write_bytes(b"broken")
    samples = Samples(DataSettings(path=str(path)), str(path))
    number, sample = samples.read([1, 2])
    assert (number, sample.caption) == (2, "a box number 2")
    assert samples.read([1, 3])[0] == 3 and list(samples.bad) == [1], (
        "a sample counts once, however often it is hit"
    )
    (path / "images" / "002.png").write_bytes(b"")
    with pytest.raises(
        ImageError, match=r"2 of 4 samples cannot be used.*max_bad_share 0.05 allows 1.*002.png"
    ):
        samples.read([2, 3])


def test_masks_are_needed_unless_said_otherwise(tmp_path: Path) -> None:
    path = write_folder(tmp_path, 2)
    for file in (path / "masks").iterdir():
        file.unlink()
    with pytest.raises(CatalogError, match="needs a mask"):
        Samples(DataSettings(path=str(path)), str(path)).read([0])
    skipping = Samples(DataSettings(path=str(path), on_no_mask="skip", max_bad_share=0.5), str(path))
    with pytest.raises(ImageError, match="none of the samples that may stand for one another"):
        skipping.read([0])
    assert skipping.bad[0].code == "no_mask"
    whole = Samples(DataSettings(path=str(path), on_no_mask="whole_image"), str(path))
    assert whole.read([0])[1].mask is None
