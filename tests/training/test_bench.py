"""`dreamcache bench loader`: what is read is counted, and its share of a step follows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from dreamcache.core.config.train import DataSettings, TrainSettings
from dreamcache.training.bench import LoaderSpeed, ReadSpeeds, _decode_share, _items, measure_reading
from dreamcache.training.dataset import Samples
from dreamcache.training.decode import DecodedSample
from dreamcache.training.transform import ItemShape
from jobs.bench.loader import LoaderReport, rendered_samples
from tests.command import dreamcache, error_of
from tests.train_samples import write_folder, write_tars


def test_reading_is_counted_without_a_model(tmp_path: Path) -> None:
    path = str(write_tars(tmp_path / "data", 8))
    settings = TrainSettings(data=DataSettings(path=path), global_batch=4)
    shape = ItemShape(size=32, latent=(4, 4, 4))
    read = measure_reading(settings, shape, samples=6, loaders=(0,), cores=2)
    assert (read.samples, read.side, read.bad) == (8, 32, 0)
    assert 2 <= read.shards_opened <= 4, "a step more than an epoch"
    (alone,) = read.speeds
    assert alone.cores == 1 and alone.samples_per_s > 0 and 0 < read.decode_share <= 1


def test_the_share_of_decoding_is_measured_as_samples_are_read_once(tmp_path: Path) -> None:
    path = str(write_tars(tmp_path / "data", 8))
    settings = TrainSettings(data=DataSettings(path=path), global_batch=4)
    items = _items(settings, ItemShape(size=32, latent=(4, 4, 4)))
    read, decoded = items.samples.read, list[int]()

    def counting(numbers: Iterable[int]) -> tuple[int, DecodedSample]:
        number, sample = read(numbers)
        decoded.append(number)
        return number, sample

    items.samples.read = counting  # type: ignore[method-assign]
    assert 0 < _decode_share(items, 4) < 1
    assert len(decoded) == len(set(decoded)) == 4


def test_the_share_of_a_step() -> None:
    speeds = (
        LoaderSpeed(loaders=0, cores=1, samples_per_s=6),
        LoaderSpeed(loaders=4, cores=2, samples_per_s=12),
    )
    read = ReadSpeeds(samples=96, side=512, decode_share=0.25, shards_opened=4, speeds=speeds, bad=1)
    report = LoaderReport(read=read, rows=12, step_s=0.5)
    assert report.table() == [["0", "6.0", "6.0", "2.00", "400%"], ["4", "12.0", "6.0", "1.00", "200%"]]
    assert "25% of the time is reading and decoding; 1 could not be used" in report.summary()
    assert [row[-1] for row in LoaderReport(read=read, rows=12, step_s=None).table()] == ["-", "-"]


def test_rendered_samples_are_training_data(tmp_path: Path) -> None:
    path = str(rendered_samples(tmp_path / "data", 5, side=96))
    samples = Samples(DataSettings(path=path), path, side=64)
    assert len(samples) == 5
    for number in range(5):
        _, sample = samples.read([number])
        assert (
            sample.image.size == (96, 96) and sample.mask is not None and sample.caption.startswith("product")
        )


@pytest.mark.slow
def test_the_command_reads_a_trainings_own_data(tmp_path: Path) -> None:
    write_folder(tmp_path / "data", 24)
    file = tmp_path / "train.yaml"
    train = {"data": {"path": "data"}, "global_batch": 4, "size": 64}
    file.write_text(yaml.safe_dump({"name": "t", "output": "out", "train": train}))
    done = dreamcache(
        "bench", "loader", str(file), "--loaders", "0,1", "--samples", "12", "--step-s", "2", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["loaders"] for row in report["speeds"]] == [0, 1] and report["rows"] == 4
    assert report["samples"] == 12 and report["step_s"] == 2
    assert dreamcache("bench", "loader", "--loaders", "many").returncode == 2
    missing = dreamcache("bench", "loader", str(tmp_path / "none.yaml"))
    assert "no such training file" in error_of(missing)
