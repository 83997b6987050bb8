"""The whole recipe within a few minutes of one GPU: python -m recipes.mini.gpu --minutes 9 --out DIR

    processes render the designs           | idle cores train the measuring tools
    vae, refine, clip on the device        | latents, unet                         -> export, benchmark -> DIR

Everything returns in DIR, in files of at most 15 MiB; join and unpack with `cat weights.tar.* | tar -x`. The export of
the newest checkpoint is packed each minute, so a run that is cut off loses little. On a machine without a GPU the
same command runs on the processor; with --toy it takes a minute or two and shows that every step works.
"""

import argparse
import multiprocessing
import os
import tarfile
import threading
import time
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

from recipes.mini.make import clip, data, evaluate, export, grid, latents, refine, unet, vae
from recipes.mini.make.compute import device_of
from recipes.mini.make.settings import Settings

PART = 15 * 2**20
_FIRST_SHARDS = 4  # the autoencoder waits for so many


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Minutes of each step; the U-Net receives what remains. reserve: for the last export and the benchmark."""

    vae: float
    refine: float
    clip: float
    reserve: float

    @classmethod
    def of(cls, minutes: float) -> "Plan":
        return cls(vae=0.11 * minutes, refine=0.08 * minutes, clip=0.05 * minutes, reserve=0.15 * minutes)


def main() -> None:
    """Run the recipe; a step that fails after training still leaves the packed weights."""
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=9.0, help="from start to end")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the results")
    parser.add_argument(
        "--work", type=Path, default=Path(".mini-gpu"), help="checkpoints; the same folder resumes"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--toy", action="store_true", help="few designs and small batches")
    options = parser.parse_args()
    end = time.monotonic() + options.minutes * 60
    options.out.mkdir(parents=True, exist_ok=True)
    settings = sizes(options.work, options.device, Plan.of(options.minutes), toy=options.toy)
    run(settings, options.out, end, options.minutes, toy=options.toy)


def sizes(work: Path, device: str, plan: Plan, *, toy: bool) -> Settings:
    """Large batches and every design on disk; few of all in a toy run."""
    cores = os.cpu_count() or 1
    settings = Settings(
        work=work, device=device, threads=cores, processes=max(1, cores - 2), designs=48_000, shard=400,
        vae_designs=48_000, vae_minutes=plan.vae, vae_batch=128, refine_minutes=plan.refine,
        clip_minutes=plan.clip, clip_batch=512, unet_batch=768, validate_minutes=2.0,
    )  # fmt: skip
    if not toy:
        return settings
    return replace(
        settings, processes=1, designs=36, shard=12, held_out=24, vae_designs=36, scenes_per_design=2, vae_batch=2,
        clip_batch=12, unet_batch=4, validated=2, checkpoint_minutes=0.1,
    )  # fmt: skip


def run(settings: Settings, out: Path, end: float, minutes: float, *, toy: bool) -> None:
    """All steps until `end` (of time.monotonic())."""
    started, context = time.monotonic(), multiprocessing.get_context("spawn")
    log = Log(out / "log.txt", started)
    log(f"device {device_of(settings.device)}, {settings.designs} designs, {minutes:g} minutes")
    renderer = context.Process(target=data.run, args=(settings,))
    renderer.start()
    _wait_for_shards(settings, renderer)
    for stage in (vae, refine, clip):
        stage.run(settings)
        log(f"{stage.__name__.rsplit('.', 1)[-1]}: done")
    renderer.join()
    log(f"data: done, {len(data.load(settings, 'train', ('class',)))} shards")
    tools = context.Process(target=_train_tools, args=(settings.work, toy))
    tools.start()
    latents.run(settings)
    latents.encode(settings, ("calm", "full"))
    log("latents: done")
    remaining = (end - time.monotonic()) / 60 - Plan.of(minutes).reserve
    settings = replace(settings, unet_minutes=max(0.02 * minutes, remaining))
    with Publisher(settings, out):
        unet.run(settings)
    log(f"unet: done after {settings.unet_minutes:.2f} minutes")
    export.run(settings)
    pack(settings.target, out)
    log("export: packed")
    tools.join(max(0.0, end - time.monotonic() - 30) if not toy else None)
    _measure(settings, out, log, toy=toy)
    log("done")


class Log:
    """Lines with the seconds since the start, on the console and in a file."""

    def __init__(self, path: Path, started: float) -> None:
        self._path, self._started = path, started

    def __call__(self, line: str) -> None:
        text = f"gpu: {time.monotonic() - self._started:5.0f} s {line}"
        print(text, flush=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")


class Publisher:
    """Exports and packs the newest checkpoint each minute, in a process of its own, while the device trains."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self._settings = replace(settings, device="cpu", threads=2, weights=Path("weights-newest"))
        self._out, self._stop = out, threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        context = multiprocessing.get_context("spawn")
        while not self._stop.wait(60 * self._settings.checkpoint_minutes):
            if (self._settings.work / "unet" / "last.pt").exists():
                process = context.Process(target=_export_and_pack, args=(self._settings, self._out))
                process.start()
                process.join()


def pack(folder: Path, out: Path) -> list[Path]:
    """The folder as weights.tar in parts of at most 15 MiB: weights.tar.0, .1, ... Older parts are replaced."""
    archive = out / "weights.partial"
    with tarfile.open(archive, "w") as tar:
        tar.add(folder, "weights")
    content = archive.read_bytes()
    archive.unlink()
    for old in out.glob("weights.tar.*"):
        old.unlink()
    parts = []
    for number, start in enumerate(range(0, len(content), PART)):
        parts.append(out / f"weights.tar.{number}")
        parts[-1].write_bytes(content[start : start + PART])
    return parts


def _export_and_pack(settings: Settings, out: Path) -> None:
    export.run(settings)
    pack(settings.target, out)


def _wait_for_shards(settings: Settings, renderer: multiprocessing.process.BaseProcess) -> None:
    """Until the held-out shard and some others are on disk."""
    first = [settings.folder("data") / shard.name for shard in data.shards(settings)[: 1 + _FIRST_SHARDS]]
    while not all(path.exists() for path in first):
        if not renderer.is_alive() and renderer.exitcode:
            raise RuntimeError(f"rendering ended with {renderer.exitcode}; its error is above")
        time.sleep(0.2)


def _train_tools(work: Path, toy: bool) -> None:
    """Beside the U-Net, which leaves the processor's cores idle."""
    from dreamcache.core.errors import ModelError
    from recipes.mini.measure.benchmark import Tools

    try:
        Tools.load(work / "tools", toy=toy)
    except ModelError as error:
        print(f"gpu: no benchmark: {error}", flush=True)


def _measure(settings: Settings, out: Path, log: Log, *, toy: bool) -> None:
    """The benchmark, or without its extra the recipe's own quick look; neither may cost the weights."""
    from recipes.mini.measure import benchmark
    from recipes.mini.measure.queries import Scales

    try:
        grid.run(settings, **({"designs": 1, "steps": 2} if toy else {}))
        newest = max((settings.work / "grids").glob("*.png"), key=lambda path: path.stat().st_mtime)
        (out / "grid.png").write_bytes(newest.read_bytes())
        tools = benchmark.Tools.load(settings.work / "tools", toy=toy)
        few = benchmark.Sizes(subjects=3, class_subjects=2, scenes=1) if toy else benchmark.Sizes()
        folder = settings.folder("measure")
        scales = Scales(num_inference_steps=2) if toy else Scales()
        benchmark.run(folder, few, weights=str(settings.target), scales=scales, tools=tools)
        (out / "benchmark.md").write_bytes((folder / "benchmark.md").read_bytes())
        (out / "benchmark.jpg").write_bytes((folder / "benchmark.jpg").read_bytes())
        log("benchmark: done")
    except Exception:  # noqa: BLE001 - the weights are packed already; what failed is in the log
        log(f"benchmark: failed\n{traceback.format_exc()}")
        evaluate.run(settings)


if __name__ == "__main__":
    main()
