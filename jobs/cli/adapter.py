"""dreamcache adapter import | show | recommend."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from dreamcache.core.errors import ModelError
from jobs.cli.common import add_verb, echo, print_json
from jobs.cli.options import Json

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@add_verb(
    app,
    "import",
    ("dreamcache adapter import cross_attention-200000.pt --base /models/sd21 --output adapters/sd21",),
)
def import_(
    checkpoint: Annotated[Path, typer.Argument(help="The published file, cross_attention-<step>.pt.")],
    base: Annotated[
        str, typer.Option(help="The base model it was trained on: a diffusers folder or hub id.")
    ],
    output: Annotated[str, typer.Option(help="Where to write the adapter: a folder or s3:// URI.")],
    revision: Annotated[str | None, typer.Option(help="The base's revision, for a hub id.")] = None,
    as_json: Json = False,
) -> None:
    """Turn a published checkpoint into an adapter folder."""
    import re

    if not checkpoint.is_file():  # before torch is loaded
        raise ModelError(f"checkpoint '{checkpoint}': must be a file of torch, got none; check the path")
    import torch

    from dreamcache.model.adapter_io import import_published, save_adapter
    from dreamcache.model.base import load_unet
    from dreamcache.storage.models.base import describe_base

    info = describe_base(base, revision)
    adapter = import_published(checkpoint, load_unet(info))
    step = re.search(r"(\d+)$", checkpoint.stem)
    save_adapter(
        adapter,
        output,
        base=info,
        step=int(step.group(1)) if step else 0,
        dtype=torch.float16,
        training={"imported_from": checkpoint.name},
    )
    count = sum(p.numel() for p in adapter.parameters())
    if as_json:
        print_json(
            {"adapter": output, "parameters": count, "places": list(adapter.places), "base": info.name}
        )
        return
    echo(f"{output}: {count / 1e6:.1f} M parameters at {len(adapter.places)} places, for base '{info.name}'")


@add_verb(app, "show", ("dreamcache adapter show mini", "dreamcache adapter show s3://bucket/sd21 --json"))
def show(
    adapter: Annotated[
        str, typer.Argument(help="An adapter folder or s3:// URI; 'mini' for the embedded one.")
    ],
    as_json: Json = False,
) -> None:
    """Show an adapter's base, places, step and size."""
    from dreamcache.storage.models.adapter import CONFIG_FAULTS, local_adapter, read_config
    from dreamcache.storage.models.lookup import mini_folder

    folder = local_adapter(str(mini_folder() / "adapter") if adapter == "mini" else adapter)
    config = read_config(folder, adapter)
    if as_json:
        print_json(config)
        return
    try:
        lines = _lines_of(config)
    except CONFIG_FAULTS as error:
        raise ModelError(
            f"adapter '{adapter}': its config.json lacks or misstates {error}; import or train it again"
        ) from error
    echo("\n".join(lines))


def _lines_of(config: dict[str, Any]) -> list[str]:
    lines = [
        f"base: {config['base']['name']} ({config['base']['fingerprint'][:12]})",
        f"integration: {config['integration']}, step {config['step']}, {config['parameters'] / 1e6:.2f} M parameters",
    ]
    if config.get("recommended"):
        scales = ", ".join(f"{name} {value:g}" for name, value in config["recommended"].items())
        lines.append(f"recommended: {scales} (the defaults of pipelines and jobs with this adapter)")
    if config.get("reference_unet"):
        lines.append(f"its own U-Net reads references ({config['reference_unet']['sha256'][:12]})")
    return [*lines, *(f"place: {place}" for place in config["places"])]


@add_verb(app, "recommend", ("dreamcache adapter recommend my-adapter --text-scale 5 --image-scale 1.5",))
def recommend(
    adapter: Annotated[str, typer.Argument(help="An adapter folder or s3:// URI.")],
    text_scale: Annotated[float | None, typer.Option(help="The text_scale that suits it.")] = None,
    image_scale: Annotated[float | None, typer.Option(help="The image_scale that suits it.")] = None,
    as_json: Json = False,
) -> None:
    """Write scales into an adapter, as the defaults of its jobs.

    A job that uses the adapter and sets no scales takes these; images of jobs that set theirs stay as they are.
    'dreamcache evaluate' with a sweep finds them.
    """
    from dreamcache.core.errors import SpecError
    from dreamcache.model.adapter_io import recommend as write

    options = {"text_scale": text_scale, "image_scale": image_scale}
    scales = {name: value for name, value in options.items() if value is not None}
    if not scales or not all(map(math.isfinite, scales.values())):
        raise SpecError(
            "adapter recommend: must have --text-scale, --image-scale or both, finite numbers; give one"
        )
    recommended = write(adapter, scales)
    if as_json:
        print_json({"adapter": adapter, "recommended": dict(recommended)})
        return
    written = ", ".join(f"{name} {value:g}" for name, value in recommended.items())
    echo(f"{adapter}: recommended {written}")
