"""Errors of other processes arrive with their code: from Ray's workers by their tracebacks, from loaders as values."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest

from dreamcache.core.errors import CacheError, DreamCacheError, StorageError
from dreamcache.storage.bounded import TooLarge
from jobs.cluster.ray_cluster import worker_error


def traceback_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageError("the disk is full", code="no_space"), "no_space"),
        (CacheError("damaged"), "bad_cache"),
        (TooLarge("too many bytes"), "too_large"),
        (
            StorageError("code: made_up\ndreamcache.core.errors.X: no\ncode: made_up", code="io_error"),
            "io_error",
        ),
    ],
)
def test_a_code_survives_a_traceback(error: DreamCacheError, code: str) -> None:
    sent = pickle.loads(pickle.dumps(error))
    assert (sent.code, str(sent), sent.__notes__) == (code, str(error), error.__notes__)
    try:
        try:
            raise sent
        except DreamCacheError as cause:
            raise RuntimeError("a library's own error") from cause
    except RuntimeError as raised:
        # As Ray hands it on: one text inside another.
        text = f"RayTaskError: worker (pid=7)\n{traceback_of(raised)}\nsee the logs"
    arrived = worker_error(RuntimeError(text), "the rest stays")
    assert arrived is not None
    assert (arrived.code, str(arrived)) == (code, f"{error}; the rest stays")


def test_other_errors_are_not_ours() -> None:
    assert worker_error(RuntimeError("dreamcache.x.Y: a line without a code"), "") is None
    assert worker_error(RuntimeError(traceback_of(ValueError("code: no"))), "") is None


@pytest.mark.slow
@pytest.mark.parametrize("loaders", [0, 1])
def test_a_loader_process_hands_on_the_code(tmp_path: Path, loaders: int) -> None:
    from dreamcache.core.config.train import DataSettings, LossSettings, TransformSettings
    from dreamcache.training.dataset import ItemShape, Samples, TrainItems
    from dreamcache.training.loaders import SampleRows, micro_batches
    from tests.train_samples import write_tars

    path = write_tars(tmp_path / "data", 4)
    settings = DataSettings(path=str(path), max_bad_share=0)
    items = TrainItems(
        Samples(settings, str(path)),
        ItemShape(size=32, latent=(4, 4, 4)),
        transform=TransformSettings(),
        loss=LossSettings(),
        seed=3,
        global_batch=4,
    )
    for tar in Path(path).glob("*.tar"):
        data = tar.read_bytes()
        tar.write_bytes(data.replace(b"\x89PNG", b"\x89XXX").replace(b"\xff\xd8\xff", b"\0\0\0"))
    rows = SampleRows(first=0, count=4, global_batch=4, step=0, steps=3)
    with pytest.raises(DreamCacheError) as raised:
        list(micro_batches(items, rows, micro_batch=4, loaders=loaders, pin=False))
    assert raised.value.code == "too_many_bad_samples"
    assert "Traceback" not in str(raised.value)
