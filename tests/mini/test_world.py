"""The product world: deterministic, exact masks, disjoint splits, and catalogs made from it."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dreamcache.mini.catalog import COLUMNS, write_sample_catalog
from dreamcache.mini.world import (
    CLASSES,
    HELD_OUT_FROM,
    SCENES,
    Pose,
    caption,
    design_from_seed,
    pose_from_seed,
    render,
    scene_phrases,
)
from dreamcache.mini.world.design import COLORS, LOGOS, PATTERNS
from dreamcache.mini.world.render import framed


def test_twelve_consecutive_seeds_show_every_class_once():
    assert {design_from_seed(seed).class_name for seed in range(36, 48)} == set(CLASSES)
    assert len(CLASSES) == 12


def test_a_seed_is_always_the_same_design_and_another_seed_is_another():
    assert design_from_seed(7) == design_from_seed(7)
    assert design_from_seed(7) != design_from_seed(7 + len(CLASSES))


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="-1"):
        design_from_seed(-1)


def test_held_out_is_a_matter_of_the_seed():
    assert not design_from_seed(HELD_OUT_FROM - 1).held_out
    assert design_from_seed(HELD_OUT_FROM).held_out


def test_the_colours_of_a_design_are_well_apart():
    for seed in range(200):
        colors = np.array(design_from_seed(seed).colors)
        gaps = [np.linalg.norm(colors[a] - colors[b]) for a, b in ((0, 1), (0, 2), (1, 2))]
        assert min(gaps) > 50


def test_the_same_arguments_give_the_same_bytes():
    design, pose = design_from_seed(5), pose_from_seed(9)
    first = render(design, pose=pose, scene="beach", scene_seed=3, size=64)
    second = render(design, pose=pose, scene="beach", scene_seed=3, size=64)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_scene_seed_varies_every_scene():
    design, pose = design_from_seed(5), Pose()
    for scene in SCENES:
        pictures = [render(design, pose=pose, scene=scene, scene_seed=s, size=64)[0] for s in (1, 2)]
        assert not np.array_equal(*pictures), scene


@pytest.mark.parametrize("seed", range(HELD_OUT_FROM, HELD_OUT_FROM + len(CLASSES)))
def test_the_packshot_is_white_exactly_outside_the_mask(seed):
    picture, mask = render(design_from_seed(seed), pose=pose_from_seed(seed), scene=None, size=64)
    assert picture.shape == (64, 64, 3)
    assert mask.shape == (64, 64)
    assert (picture[mask == 0] == 255).all()
    assert 0.04 < (mask > 127).mean() < 0.7
    assert np.abs(picture[mask == 255].astype(int) - 255).max(axis=1).mean() > 30


def test_the_object_stays_in_the_frame():
    for seed in range(240):
        _, mask = render(design_from_seed(seed), pose=pose_from_seed(seed), scene=None, size=64)
        border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        assert border.mean() < 12, seed


def test_the_scene_changes_nothing_on_the_object():
    design, pose = design_from_seed(31), pose_from_seed(4)
    plain, mask = render(design, pose=pose, scene=None, size=64)
    for scene in SCENES:
        placed, same_mask = render(design, pose=pose, scene=scene, scene_seed=1, size=64)
        assert np.array_equal(mask, same_mask)
        assert np.array_equal(placed[mask == 255], plain[mask == 255])


@pytest.mark.parametrize("size", [64, 128, 256])
def test_a_picture_means_the_same_at_every_size(size):
    design, pose = design_from_seed(13), pose_from_seed(2)
    small, _ = render(design, pose=pose, scene="beach", scene_seed=5, size=64)
    large, _ = render(design, pose=pose, scene="beach", scene_seed=5, size=size)
    shrunk = np.asarray(Image.fromarray(large).resize((64, 64), Image.Resampling.BOX))
    assert np.abs(shrunk.astype(float) - small).mean() < 14


def test_framing_fills_the_frame_up_to_the_margin():
    for seed in range(24):
        design = design_from_seed(seed)
        pose = framed(design, pose_from_seed(seed), margin=0.1)
        _, mask = render(design, pose=pose, scene=None, size=128)
        rows, columns = np.flatnonzero(mask.max(axis=1)), np.flatnonzero(mask.max(axis=0))
        longest = max(np.ptp(rows), np.ptp(columns)) + 1
        assert abs(longest / 128 - 0.8) < 0.05
        assert abs(rows.mean() / 128 - 0.5) < 0.04
        assert abs(columns.mean() / 128 - 0.5) < 0.04


def test_captions_name_class_and_scene_but_never_the_design():
    design_words = {*PATTERNS, *LOGOS} | {word for word in COLORS if word not in " ".join(map(str, SCENES))}
    for scene in (*SCENES, None):
        for seed in range(12):
            text = caption("mug", scene, seed)
            assert "mug" in text
            assert scene is None or any(phrase in text for phrase in scene_phrases(scene))
            if scene is None or not scene.startswith("plain"):
                words = set(text.replace("plain white", "").split())
                assert not words & {w for w in design_words if w not in ("plain", "star")} - set(
                    " ".join(scene_phrases(scene)).split() if scene else ["white"]
                )


def test_every_scene_has_two_phrases_of_its_own():
    phrases = [phrase for scene in SCENES for phrase in scene_phrases(scene)]
    assert len(phrases) == len(set(phrases))
    assert all(2 <= len(scene_phrases(scene)) <= 4 for scene in SCENES)
    assert len(SCENES) >= 20


def test_a_sample_catalog_spreads_the_classes_and_lists_what_it_drew(tmp_path):
    table = write_sample_catalog(tmp_path, 24, size=64)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert tuple(rows[0]) == COLUMNS
    assert sorted(row["class_name"] for row in rows) == sorted([*CLASSES, *CLASSES])
    assert len({row["subject_id"] for row in rows}) == 24
    for row in rows:
        assert row["color"] in COLORS
        assert row["pattern"] in PATTERNS
        with Image.open(tmp_path / row["image"]) as picture:
            assert picture.size == (64, 64)


def test_a_sample_catalog_is_the_same_bytes_again(tmp_path):
    first, second = (write_sample_catalog(tmp_path / name, 3, size=64) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    names = sorted(path.name for path in (tmp_path / "a/images").iterdir())
    assert all(
        (tmp_path / f"a/images/{n}").read_bytes() == (tmp_path / f"b/images/{n}").read_bytes() for n in names
    )


def test_an_empty_sample_catalog_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        write_sample_catalog(tmp_path, 0)


@pytest.mark.parametrize("seed", range(HELD_OUT_FROM, HELD_OUT_FROM + 2 * len(CLASSES)))
def test_from_behind_the_outline_is_mirrored_and_the_logo_is_not_seen(seed):
    design = design_from_seed(seed)
    front, back = (
        render(design, pose=Pose(light=0.0, back=back), scene=None, size=64) for back in (False, True)
    )
    rows = [np.flatnonzero(mask.max(axis=1) > 127) for _, mask in (front, back)]
    assert abs(int(rows[0][0]) - int(rows[1][0])) <= 3 and abs(int(rows[0][-1]) - int(rows[1][-1])) <= 3
    union = ((front[1][:, ::-1] > 127) | (back[1] > 127)).sum()
    assert ((front[1][:, ::-1] > 127) & (back[1] > 127)).sum() / union > 0.85
    without = render(
        replace(design, logo="ring" if design.logo else None), pose=Pose(light=0.0, back=True), scene=None
    )
    if design.logo:
        assert np.array_equal(without[0], back[0]), "what the logo is cannot be seen"
