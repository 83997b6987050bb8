"""A contact sheet: pictures in rows and columns. Knows pictures only."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

GAP, LABEL = 3, 16
INK = (60, 60, 60)


def sheet(
    cells: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    captions: Sequence[str] = (),
    *,
    cell: int = 96,
) -> Image.Image:
    """A title above each column and, if there are captions, one below each row. cell: side in pixels."""
    step, below = cell + GAP, LABEL if captions else 0
    size = (len(titles) * step + GAP, len(cells) * (step + below) + GAP + LABEL)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for column, title in enumerate(titles):
        draw.text((column * step + step / 2, LABEL / 2 + 1), title, fill=INK, anchor="mm", font_size=11)
    for row, pictures in enumerate(cells):
        top = LABEL + GAP + row * (step + below)
        for column, cell_picture in enumerate(pictures):
            fitted = cell_picture.convert("RGB").resize((cell, cell), Image.Resampling.LANCZOS)
            picture.paste(fitted, (GAP + column * step, top))
        if captions:
            draw.text((GAP, top + cell + LABEL / 2), captions[row], fill=INK, anchor="lm", font_size=11)
    return picture
