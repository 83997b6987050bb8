"""Every damaged adapter of the corpus is a ModelError in one line, when it is described or when it is loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from diffusers import UNet2DConditionModel

from dreamcache.core.errors import ModelError
from dreamcache.model.adapter_io import load_adapter
from dreamcache.model.base import load_unet
from dreamcache.storage.models.adapter import describe_adapter
from dreamcache.storage.models.base import BaseInfo, describe_base
from tests.corpus.kind import Kind, case_id, cases
from tests.tiny import save_random_adapter


@pytest.fixture(scope="module")
def base(epsilon_base: Path) -> tuple[BaseInfo, UNet2DConditionModel]:
    info = describe_base(str(epsilon_base))
    return info, load_unet(info)


@pytest.fixture(scope="module")
def good(epsilon_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random_adapter(tmp_path_factory.mktemp("good"), epsilon_base)


@pytest.mark.parametrize(("kind", "name"), cases("adapter"), ids=case_id)
def test_a_damaged_adapter_is_named(
    kind: Kind, name: str, base: tuple[BaseInfo, UNet2DConditionModel], good: Path, tmp_path: Path
) -> None:
    info, unet = base
    folder = Path(shutil.copytree(good, tmp_path / "adapter"))
    load_adapter(describe_adapter(str(folder), info), unet)
    kind.inputs[name](folder)
    with pytest.raises(ModelError) as raised:
        load_adapter(describe_adapter(str(folder), info), unet)
    message = str(raised.value)
    assert raised.value.code == kind.code
    assert message.isprintable() and len(message) < 2000, message
