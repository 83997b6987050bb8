"""The seam of families: torch-free descriptions, found by their folders, and nothing outside that names them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dreamcache
from dreamcache.core.config import GenerationSettings
from dreamcache.core.config.methods import methods
from dreamcache.core.errors import ModelError, SpecError
from dreamcache.inference.facts import describe_models, plan_facts, settings_without_meaning
from dreamcache.inference.families import family, family_of
from jobs.spec import parse_spec
from tests.tiny import save_base

FAMILIES = Path(dreamcache.__file__).parent / "inference" / "families"
JOB = {"name": "a", "catalog": "c", "output": "o"}
NEW = """
from dreamcache.inference.families.sd_sizes import StableDiffusionFamily


class New(StableDiffusionFamily):
    method = "{method}"

    def recognizes(self, base, revision):
        return {recognizes}

    def describe_adapter(self, adapter, base):
        self.refuse_adapter(adapter)
        return self.method_info(base, base.location, {{}})


FAMILY = New()
"""


@pytest.fixture
def add_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Adds a folder with a family, as a new one would be, for one test."""
    monkeypatch.setattr(family, "_FAMILIES", {name: list(some) for name, some in family._FAMILIES.items()})
    monkeypatch.setattr("dreamcache.core.config.methods._METHODS", dict.fromkeys(methods()))
    monkeypatch.syspath_prepend(str(tmp_path))

    def add(name: str, *, method: str, recognizes: str = "True") -> None:
        folder = tmp_path / f"package_{name}" / name
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("")
        (folder / "__init__.py").write_text("")
        (folder / "describe.py").write_text(NEW.format(method=method, recognizes=recognizes))
        family.register_families(folder.parent.name, [str(folder.parent)])

    return add


def test_descriptions_import_no_torch() -> None:
    code = (
        "import sys, jobs, jobs.spec, dreamcache.inference.facts, workers.context\n"
        "from dreamcache.core.config.methods import methods\n"
        "print(*methods(), *sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["blip-diffusion", "dreamcache", "ip-adapter", "text-only"]


def test_nothing_outside_of_its_folder_names_a_family() -> None:
    """Jobs, workers, core and storage ask a family; they never compare its name."""
    root = Path(dreamcache.__file__).parent
    others = [*root.glob("core/**/*.py"), *root.glob("storage/**/*.py")]
    others += [path for name in ("jobs", "workers") for path in (root.parent / name).rglob("*.py")]
    compared = re.compile(r"method (==|!=) \"(dreamcache|ip-adapter|blip-diffusion|text-only)\"")
    imported = re.compile(r"families\.(sd|ip_adapter|blip_diffusion|text_only)\b")
    for path in others:
        text = path.read_text("utf-8")
        assert not compared.search(text) and not imported.search(text), path


def test_a_new_family_is_a_folder(add_family, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"did you mean|must be one of"):
        family_of("new-method")
    add_family("fresh", method="new-method")
    base = str(save_base(tmp_path / "base"))
    spec = parse_spec(JOB)
    assert "new-method" in methods()
    models = describe_models("new-method", type(spec.model)(base=base))
    assert models.fingerprints[1] != describe_models("text-only", type(spec.model)(base=base)).fingerprints[1]


def test_families_that_share_a_method_are_distinguished_by_the_base(add_family, tmp_path: Path) -> None:
    add_family("wide", method="dreamcache", recognizes="base.endswith('wide')")
    for name, pipeline in (("wide", "WidePipeline"), ("other", "StableCascadeDecoderPipeline"), ("sd", None)):
        (tmp_path / name).mkdir()
        if pipeline:
            (tmp_path / name / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    names = {base: type(family_of("dreamcache", base)).__name__ for base in ("mini", str(tmp_path / "wide"))}
    assert set(names.values()) == {"StableDiffusion", "New"} and names["mini"] == "StableDiffusion"
    assert type(family_of("dreamcache", str(tmp_path / "sd"))).__name__ == "StableDiffusion"
    with pytest.raises(ModelError, match="no family of method 'dreamcache' recognizes it"):
        family_of("dreamcache", str(tmp_path / "other"))


def test_facts_state_what_the_models_decide() -> None:
    facts = plan_facts(parse_spec(JOB))
    assert facts.reference.size == facts.base.native_size and facts.reference.places
    assert facts.gate is None
    gated = {"quality": {"min_text": 0.1, "metrics": {"clip": "mini", "dino": None, "segmenter": None}}}
    assert plan_facts(parse_spec({**JOB, **gated})).gate
    with pytest.raises(SpecError, match=r"reference\.places: must hold every place of the adapter"):
        plan_facts(parse_spec({**JOB, "reference": {"places": ["mid_block.attentions.0"]}}))
    with pytest.raises(ModelError, match="takes no adapter"):
        plan_facts(parse_spec({**JOB, "method": "text-only", "model": {"adapter": "x"}}))


def test_families_say_which_settings_they_read() -> None:
    plain = parse_spec({**JOB, "method": "ip-adapter"})
    assert settings_without_meaning(plain) == []
    changed = parse_spec({**JOB, "method": "ip-adapter", "generation": {"strength": 0.5, "image_scale": 0.9}})
    assert settings_without_meaning(changed) == ["generation.strength"]
    assert settings_without_meaning(parse_spec({**JOB, "generation": {"strength": 0.5}})) == []


def test_passes_are_those_of_the_family() -> None:
    settings = GenerationSettings(num_inference_steps=10)
    halves = {
        name: (passes.encoder_halves, passes.decoder_halves)
        for name in methods()
        for passes in [family_of(name).passes_per_image(settings)]
    }
    assert halves == {
        "dreamcache": (20, 30),
        "text-only": (20, 30),
        "ip-adapter": (20, 20),
        "blip-diffusion": (20, 20),
    }
