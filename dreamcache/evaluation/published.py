"""The paper's DreamBench numbers (docs/method.md section 6), to stand beside ours where the encoders are the same.

30 subjects, 25 prompts, 4 images each. Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "DreamCache (SD 2.1)": {"dino": 0.767, "clip_i": 0.816, "clip_t": 0.301},
    "DreamCache (SD 1.5)": {"dino": 0.713, "clip_i": 0.810, "clip_t": 0.298},
    "IP-Adapter (SD 1.5)": {"dino": 0.667, "clip_i": 0.813, "clip_t": 0.289},
    "Kosmos-G (SD 1.5)": {"dino": 0.694, "clip_i": 0.847, "clip_t": 0.287},
    "JeDi (SD 1.5)": {"dino": 0.619, "clip_i": 0.782, "clip_t": 0.304},
    "BLIP-Diffusion (SD 1.5)": {"dino": 0.594, "clip_i": 0.779, "clip_t": 0.300},
    "BootPIG (SD 2.1)": {"dino": 0.674, "clip_i": 0.797, "clip_t": 0.311},
    "DreamBooth (SD 1.5)": {"dino": 0.668, "clip_i": 0.803, "clip_t": 0.305},
}

PUBLISHED_MASKED: Mapping[str, Mapping[str, float]] = {
    "DreamBooth": {"mclip_i": 0.868, "mdino": 0.712},
    "Custom Diffusion": {"mclip_i": 0.864, "mdino": 0.711},
    "JeDi": {"mclip_i": 0.876, "mdino": 0.751},
    "BLIP-Diffusion": {"mclip_i": 0.862, "mdino": 0.669},
    "ELITE": {"mclip_i": 0.861, "mdino": 0.681},
    "Toffee-5M": {"mclip_i": 0.874, "mdino": 0.803},
    "DreamCache": {"mclip_i": 0.906, "mdino": 0.837},
}
