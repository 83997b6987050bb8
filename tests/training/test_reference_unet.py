"""A U-Net that learns to read references: what of it learns, and that its features belong to its adapter alone."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

import jobs
from dreamcache import DreamCachePipeline
from dreamcache.core.config import EncodeSettings, GenerationSettings, ImageLimits
from dreamcache.core.config.train import DataSettings, OptimizerSettings, ReferenceSettings, TrainSettings
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.families.sd_sizes import count_parameters
from dreamcache.inference.generate import Generator
from dreamcache.inference.outcome import Generated
from dreamcache.inference.references import ReferenceFeatures
from dreamcache.model.reference_unet import load_reference_unet, read_names
from dreamcache.model.tap import tap_features
from dreamcache.storage.feature_cache import FeatureCache, list_entries
from dreamcache.storage.models.adapter import REFERENCE_UNET, AdapterInfo, describe_adapter
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.open_store import store_for
from dreamcache.training.checkpoints import TrainFolder
from dreamcache.training.loop import TrainLoop
from dreamcache.training.optimizer import learned
from dreamcache.training.trainer import Trainer
from jobs.spec import parse_spec
from jobs.train.spec import parse_train_spec
from tests.tiny import make_unet
from tests.training.trainers import MakeTrainer
from workers.context import request_of

FAST = OptimizerSettings(learning_rate=2e-2, warmup_steps=0, ema=0, clip_norm=0)
TRAINED = ReferenceSettings(unet="trained", unet_learning_rate=1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="module")
def trainer(make: MakeTrainer, folder: Path) -> Trainer:
    """Its training is finished: three steps."""
    trainer = make(reference=TRAINED, steps=3, optimizer=FAST)
    TrainLoop(trainer, TrainFolder(str(folder)), name="own").run()
    return trainer


@pytest.fixture(scope="module")
def place(trainer: Trainer, folder: Path) -> Path:
    """The adapter it exported."""
    return folder / "adapter"


def test_only_what_reading_goes_through_learns() -> None:
    unet = make_unet()
    names = read_names(unet, ("mid_block.attentions.0", "up_blocks.2.attentions.0"))
    parts = {".".join(name.split(".")[:4]) for name in names}
    assert {"conv_in.weight", "mid_block.attentions.0.norm", "up_blocks.1.attentions.2"} <= parts
    assert {"up_blocks.2.resnets.0"} <= parts
    assert not any(name.startswith(("up_blocks.2.attentions.0", "up_blocks.2.resnets.1")) for name in names)
    assert not any(name.startswith(("up_blocks.3", "conv_out", "conv_norm_out")) for name in names)
    assert not any(name.startswith("up_blocks") for name in read_names(unet, ("mid_block.attentions.0",)))


def test_it_learns_and_the_base_stays(make: MakeTrainer) -> None:
    trainer = make(reference=TRAINED, steps=3, gradient_checkpointing=True)
    before = [value.clone() for value in trainer.base.unet.state_dict().values()]
    with torch.no_grad():  # away from its start, where the join reads nothing of the reference
        for parameter in trainer.adapter.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    reader = trainer.loss.reader
    assert reader is not None
    with ExitStack() as hooks:
        batch = default_collate([trainer.items[n] for n in range(4)])
        trainer.loss(batch, hooks).mean().backward()
    own = learned(reader)
    assert set(own) == set(read_names(trainer.base.unet, trainer.adapter.feature_places))
    without = {name for name, parameter in own.items() if parameter.grad is None or not parameter.grad.any()}
    # One pixel in the middle block and one null text: what attention weighs there has no say.
    assert all("to_q" in name or "to_k" in name for name in without)
    trainer.optimizer.zero_grad()
    start = {name: value.clone() for name, value in own.items()}
    groups = [float(made.learning_rate) for made in trainer.steps()]
    assert [group["lr"] for group in trainer.optimizer.param_groups] == pytest.approx(
        [groups[-1], groups[-1] / 2]
    )
    assert sum(not torch.equal(start[name], value) for name, value in own.items()) > 0.9 * len(own)
    assert all(
        torch.equal(a, b) for a, b in zip(before, trainer.base.unet.state_dict().values(), strict=True)
    )
    trainer.validate()


def test_exported_beside_the_adapter_and_read_back(trainer: Trainer, place: Path) -> None:
    assert trainer.reader_average is not None
    config = json.loads((place / "config.json").read_text())
    info = describe_adapter(str(place), trainer.info)
    assert config["reference_unet"] == {"file": REFERENCE_UNET, "sha256": info.reference_unet}
    read = load_reference_unet(info, trainer.base.unet)
    ours, base = trainer.reader_average.tensors(), dict(trainer.base.unet.named_parameters())
    for name, value in read.named_parameters():
        if name in ours:
            assert torch.allclose(value, ours[name], atol=2e-3) and value is not base[name]
        else:
            assert value is base[name]  # shared
    pipe = DreamCachePipeline.from_pretrained(trainer.info.location, adapter=str(place))
    assert count_parameters(pipe.info, info) > count_parameters(pipe.info, replace(info, reference_unet=""))
    text = pipe.prompts([""])
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    maps = [tap_features(unet, latents, 1, text, pipe.places) for unet in (read, pipe.reader, pipe.base.unet)]
    for place_ in pipe.places:
        # Attention is plain in a trainer's base and fused in the pipeline's: the last bits differ.
        assert torch.allclose(maps[0][place_], maps[1][place_], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(maps[0][place_], maps[2][place_], rtol=1e-3)


def test_a_training_resumes_from_checkpoint_and_adapter(
    make: MakeTrainer, trainer: Trainer, place: Path, folder: Path
) -> None:
    again = TrainLoop(
        make(reference=TRAINED, steps=3, optimizer=FAST), TrainFolder(str(folder)), name="own"
    ).trainer
    assert again.step == 3 and again.loss.reader is not None
    ended = trainer.checkpoint().tensors
    assert any(name.startswith("reader/exp_avg/") for name in ended)
    for name, value in again.checkpoint().tensors.items():
        assert torch.equal(value, ended[name]), name

    held = learned(again.loss.reader)
    start = describe_adapter(str(place), trainer.info)
    begun = Trainer(trainer.base, trainer.info, replace(trainer.settings, steps=1), start=start)
    assert begun.loss.reader is not None
    for name, value in learned(begun.loss.reader).items():
        assert torch.allclose(value, held[name], atol=2e-3), name
    frozen = replace(trainer.settings, reference=ReferenceSettings())
    with pytest.raises(SpecError, match=r"set reference\.unet: trained"):
        Trainer(trainer.base, trainer.info, frozen, start=start)


def test_its_features_are_its_own(place: Path, bases: dict[str, Path], tmp_path: Path, bucket: str) -> None:
    """A job plans, encodes and generates with it; features read by the base are neither found nor taken."""
    remote = f"{bucket}/adapter"
    for file in place.iterdir():
        store_for(remote).write(f"{remote}/{file.name}", file.read_bytes())
    (tmp_path / "catalog.csv").write_text("subject_id,image,class_name\nmug,mug.png,mug\n")
    Image.new("RGB", (64, 64), (200, 20, 20)).save(tmp_path / "mug.png")
    values: dict[str, Any] = {
        "name": "job",
        "catalog": str(tmp_path / "catalog.csv"),
        "output": str(tmp_path / "output"),
        "prompts": ["a {class_name} on sand"],
        "model": {"base": str(bases["epsilon"]), "adapter": remote, "dtype": "float32"},
        "reference": {"segmenter": "none", "size": 64},
    }
    planned = jobs.plan(parse_spec(values))
    pipe = DreamCachePipeline.from_pretrained(str(bases["epsilon"]), adapter=remote)
    assert planned.facts.reference.reader == pipe.reader_name == planned.facts.adapter.reference_unet != ""
    request = request_of(next(planned.files.tables()).to_pylist()[0])
    cache = FeatureCache(str(tmp_path / "cache"), planned.facts.base.fingerprint)
    features = ReferenceFeatures(pipe.encoder(planned.facts.reference), cache, ImageLimits())
    settings = GenerationSettings(num_inference_steps=2, height=64, width=64)
    made = Generator(pipe, settings, features.get, batch_size=1).generate([request])
    assert isinstance(made[0], Generated), made[0]

    config = json.loads((place / "config.json").read_text())
    del config["reference_unet"]
    plain = shutil.copytree(place, tmp_path / "plain")
    (plain / "config.json").write_text(json.dumps(config))
    other = DreamCachePipeline.from_pretrained(str(bases["epsilon"]), adapter=str(plain))
    theirs = other.encode_reference(Image.open(tmp_path / "mug.png"), settings=planned.spec.reference)
    assert theirs.cache_key != request.cache_key
    assert [entry.cache_key for entry in list_entries(cache.root_uri)] == [request.cache_key]
    with pytest.raises(
        ModelError, match=r"read by the base's U-Net, this adapter's are by U-Net [0-9a-f]{12}"
    ):
        pipe("a mug", theirs)
    with pytest.raises(
        ModelError, match=r"read by U-Net [0-9a-f]{12}, this adapter's are by the base's U-Net"
    ):
        other("a mug", features.get(request))


def test_what_does_not_fit_is_refused(place: Path, bases: dict[str, Path], tmp_path: Path) -> None:
    base = describe_base(str(bases["epsilon"]))
    info: AdapterInfo = describe_adapter(str(place), base)
    with pytest.raises(ModelError, match="was trained on base"):
        describe_adapter(str(place), describe_base(str(bases["v_prediction"])))
    with pytest.raises(ModelError, match="belongs to another base model"):
        load_reference_unet(info, make_unet(cross_attention_dim=64))
    copied = shutil.copytree(place, tmp_path / "copied")
    (copied / REFERENCE_UNET).write_bytes(b"another")
    with pytest.raises(ModelError, match=r"sha256 [0-9a-f]{12}\.\.\., it is another"):
        describe_adapter(str(copied), base)
    (copied / REFERENCE_UNET).unlink()
    with pytest.raises(ModelError, match="it is missing; copy the whole folder"):
        describe_adapter(str(copied), base)
    train: dict[str, Any] = {
        "data": {"path": "d"},
        "transform": {"flip_p": 0, "jitter_p": 0, "erase_p": 0},
        "reference": {"cache": "c", "noise": "fixed", "unet": "trained"},
    }
    with pytest.raises(SpecError, match=r"set reference.unet: frozen, got 'trained'"):
        parse_train_spec({"name": "a", "output": "o", "train": train})


def test_without_one_keys_and_configs_are_as_ever(make: MakeTrainer, tmp_path: Path) -> None:
    trainer = make(steps=1)
    TrainLoop(trainer, TrainFolder(str(tmp_path)), name="plain").run()
    config = json.loads((tmp_path / "adapter" / "config.json").read_text())
    assert "reference_unet" not in config and not (tmp_path / "adapter" / REFERENCE_UNET).exists()
    assert "reader" not in EncodeSettings().as_dict()
    course = TrainSettings(data=DataSettings(path="")).course()
    assert course["reference.unet"] == "frozen" and "reference.cache" not in course
