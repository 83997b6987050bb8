"""The tokenizer: a small byte-pair vocabulary in CLIP's own file format.

Knows the caption corpus and the DreamBench prompts' words. Every byte has a token, so no text is unknown.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from dreamcache.mini.world.design import COLORS, LOGOS, MATERIALS, PATTERNS
from recipes.mini.make.data import CAPTIONS
from recipes.mini.make.modules import MAX_TOKENS

START, END = "<|startoftext|>", "<|endoftext|>"
_MERGES = 1200

_WORDS = """a an the of in on at with and to from by for over under above below near behind front top next background
photo picture image painting drawing product shot studio close view jungle snow beach cobblestone street pink fabric
wooden floor city mountain blue house purple rug forest wheat field tree autumn leaves eiffel tower floating water
ocean sea green grass sunflowers around mirror sidewalk crowded dirt road white red yellow black orange brown grey
shiny cube shaped wearing hat santa rainbow scarf firefighter outfit police witch chef coat shirt bathtub person
subject backpack stuffed animal bowl can candle cat clock sneaker dog toy boot glasses cartoon robot sloth plushie
teapot vase book lamp chair handbag bottle box mug cap t-shirt table wall brick night sky sunset kitchen party plain
light dark small large big old new modern wood metal glass plastic paper stone sand river lake garden park room
window door summer winter spring morning evening sun moon stars rain cloud fire flower animal food drink""".split()


def new_tokenizer(folder: Path) -> CLIPTokenizer:
    """Train the tokenizer once into `folder`; later calls load it."""
    if not (folder / "tokenizer_config.json").exists():
        vocabulary, merges = _train()
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
        (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
        tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _train() -> tuple[dict[str, int], list[tuple[str, str]]]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=512 + _MERGES, end_of_word_suffix="</w>", min_frequency=2, show_progress=False
    )
    words = [*_WORDS, *" ".join([*COLORS, *PATTERNS, *LOGOS, *MATERIALS]).split()]
    tokenizer.train_from_iterator([*CAPTIONS, *words * 20], trainer)
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in learned]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [
        *letters,
        *(letter + "</w>" for letter in letters),
        *dict.fromkeys("".join(pair) for pair in merges),
    ]
    tokens = [*dict.fromkeys(tokens), START, END]
    return {token: index for index, token in enumerate(tokens)}, merges
