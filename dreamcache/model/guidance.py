"""Guidance (Supp S4): pure functions of predictions. e_it is the prediction e(cI, cT), 0 marks a dropped condition.

text:      e00 + sT (e01 - e00)                                 plain classifier-free guidance
joint:     e00 + s  (e11 - e00)
combined:  e00 + sI (e10 - e00) + sT (e11 - e10)
"""

from __future__ import annotations

from torch import Tensor

Branch = tuple[bool, bool]
"""(image condition present, text condition present)"""

BRANCHES: dict[str, tuple[Branch, ...]] = {
    "text": ((False, False), (False, True)),
    "joint": ((False, False), (True, True)),
    "combined": ((False, False), (True, False), (True, True)),
}


def joint(e00: Tensor, e11: Tensor, s: Tensor | float) -> Tensor:
    """One scale for both conditions; s is a number or [B, 1, 1, 1]."""
    return e00 + s * (e11 - e00)


def combined(
    e00: Tensor, e10: Tensor, e11: Tensor, s_image: Tensor | float, s_text: Tensor | float
) -> Tensor:
    """A scale for each condition. Higher s_image keeps the subject better, lower lets text edit it."""
    return e00 + s_image * (e10 - e00) + s_text * (e11 - e10)


def guide(mode: str, predictions: list[Tensor], s_image: Tensor | float, s_text: Tensor | float) -> Tensor:
    """Joins the predictions of `BRANCHES[mode]`, in that order."""
    if mode == "combined":
        e00, e10, e11 = predictions
        return combined(e00, e10, e11, s_image, s_text)
    e00, e11 = predictions
    return joint(e00, e11, s_text)
