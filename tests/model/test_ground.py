"""The ground around a subject: which positions it has, and which vectors stand for them."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from dreamcache import DreamCachePipeline, EncodeSettings
from dreamcache.model.features import SubjectFeatures
from dreamcache.model.ground import ground_of
from dreamcache.model.preprocess import on_packshot, packshot
from dreamcache.storage import packed
from tests.corpus.pictures import photo


def _subject(side: int = 32) -> np.ndarray:
    subject = np.zeros((side, side), np.bool_)
    subject[12:20, 12:20] = True
    return subject


def test_each_position_of_the_ground_has_the_nearest_vector_and_the_subject_none() -> None:
    rng = np.random.default_rng(0)
    values = np.zeros((2, 16, 16), np.float32)
    values[0, :, :8], values[0, :, 8:] = -5, 5
    values += rng.standard_normal(values.shape).astype(np.float32) * 0.01
    ground = ground_of(values, _subject(), 2)
    assert np.array_equal(np.argwhere(ground.vector_of == 0).min(axis=0), [5, 5]), "an edge of one position"
    assert (ground.vector_of == 0).sum() == 36
    assert sorted(np.round(ground.vectors[0])) == [-5, 5]
    left = set(ground.vector_of[:, 0])
    assert len(left) == 1 and left != set(ground.vector_of[:, -1])


def test_without_a_ground_and_with_fewer_positions_than_vectors() -> None:
    values = np.ones((2, 4, 4), np.float32)
    for subject in (None, np.ones((8, 8), np.bool_)):
        ground = ground_of(values, subject, 16)
        assert not ground.vector_of.any() and ground.vectors.shape == (2, 0)
    corner = np.zeros((8, 8), np.bool_)
    corner[:6] = True
    ground = ground_of(values, corner, 16)
    assert ground.vectors.shape == (2, 0), "the subject's neighbours fill the map"
    nothing = ground_of(values, np.zeros((8, 8), np.bool_), 255)
    assert nothing.vectors.shape == (2, 16) and nothing.vector_of.all()


def test_the_mask_lies_on_the_packshot_where_the_subject_does() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[10:30, 5:50] = True
    picture = Image.new("RGB", (60, 40), "black")
    for size, margin in ((64, 0.05), (64, 0.2), (8, 0.0)):
        shown = np.asarray(packshot(picture, mask, size=size, margin=margin)).min(axis=2) < 255
        where = on_packshot(mask, size=size, margin=margin)
        assert where.shape == (size, size) and where[shown].all()
        assert where.sum() <= shown.sum() + 4 * size
    assert on_packshot(np.ones((4, 4), np.bool_), size=8, margin=0.1).all()


def test_features_of_a_pipeline_are_the_same_numbers_before_and_after_the_cache(
    epsilon_pipe: DreamCachePipeline,
) -> None:
    mask = np.zeros((48, 64), np.bool_)
    mask[16:32, 20:40] = True
    image = photo(64, 48)
    exact = epsilon_pipe.encode_reference(image, mask, settings=EncodeSettings(dtype="float32"))
    sizes = []
    for form in (
        EncodeSettings(dtype="float16"),
        EncodeSettings(),
        EncodeSettings(dtype="int5"),
        EncodeSettings(dtype="int5", ground_vectors=4),
    ):
        subject = epsilon_pipe.encode_reference(image, mask, settings=form)
        again = SubjectFeatures.from_stored(subject.to_stored())
        assert again.to_stored() == subject.to_stored()
        for place, value in subject.maps.items():
            assert torch.equal(value, again.maps[place])
            assert value.shape == exact.maps[place].shape
        sizes.append(sum(len(raw.data) for raw in subject.to_stored().maps.values()))
    assert sizes[0] > sizes[1] > sizes[2]
    assert subject.to_stored().maps[epsilon_pipe.places[0]].dtype == "int5" + packed.GROUND


def test_attention_weighs_a_vector_by_its_positions() -> None:
    """softmax over copies of a vector is softmax over one of it with the logarithm of their number added."""
    rng = np.random.default_rng(0)
    query, subject, vectors = (torch.from_numpy(rng.standard_normal((n, 8))) for n in (5, 7, 2))
    counts = torch.tensor([9, 4])
    copies = torch.cat([subject, vectors.repeat_interleave(counts, dim=0)])
    once = torch.cat([subject, vectors])
    bias = torch.cat([torch.zeros(7), counts.log()]).double()
    read = torch.nn.functional.scaled_dot_product_attention
    torch.testing.assert_close(
        read(query[None], copies[None], copies[None]),
        read(query[None], once[None], once[None], attn_mask=bias[None, None].expand(1, 5, 9)),
    )
