"""Training data of the product world: what `dreamcache train` reads is what was rendered."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dreamcache.core.config.train import DataSettings
from dreamcache.training.dataset import Samples
from recipes.mini import dataset
from recipes.mini.dataset import render_reference, write_training_data


def test_the_trainer_reads_scene_mask_caption_and_the_designs_own_packshot(tmp_path: Path):
    folder = write_training_data(tmp_path / "data", 3, first_seed=24)
    samples = Samples(DataSettings(path=str(folder)), str(folder))
    assert len(samples) == 6
    for number in range(6):
        _, sample = samples.read([number])
        assert sample.mask is not None
        assert sample.mask.shape == (64, 64) and 0.04 < sample.mask.mean() < 0.7
        assert np.array_equal(np.asarray(sample.reference), render_reference(24 + number // 2)[0])
        assert sample.framed
        assert sample.caption
    first, second = samples.read([0])[1], samples.read([1])[1]
    assert not np.array_equal(np.asarray(first.image), np.asarray(second.image))


def test_shards_that_are_there_stay_and_the_same_arguments_give_the_same_bytes(tmp_path: Path):
    first, second = (write_training_data(tmp_path / name, 2, scenes=1) for name in ("a", "b"))
    (shard,) = first.iterdir()
    assert shard.read_bytes() == (second / shard.name).read_bytes()
    written = shard.stat().st_mtime_ns
    write_training_data(first, 2, scenes=1)
    assert shard.stat().st_mtime_ns == written


def test_no_designs_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="at least 1"):
        write_training_data(tmp_path, 0)


def test_another_number_of_designs_doubles_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dataset, "_SHARD", 4)
    write_training_data(tmp_path, 1, first_seed=101, scenes=1)
    (tmp_path / "part-00000-of-00001.parquet").write_bytes(b"of somebody else")
    for designs, parts in ((6, ["0-4", "4-6"]), (8, ["0-4", "4-8"]), (3, ["0-3"])):
        write_training_data(tmp_path, designs, scenes=2)
        ends = [[f"{int(end):09d}" for end in part.split("-")] for part in [*parts, "101-102"]]
        names = [f"part-{first}-{last}.parquet" for first, last in ends]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00000-of-00001.parquet", *names]
        assert sum(pq.ParquetFile(tmp_path / name).metadata.num_rows for name in names[:-1]) == 2 * designs
