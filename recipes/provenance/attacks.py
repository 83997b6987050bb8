"""Which mark survives which change of a file: 22 attacks on images of a job, layer by layer.

    python -m recipes.provenance.attacks --images 100 --photos FOLDER --rivagan models/rivagan --read 10 > table.md

Rendered pictures at 512 px are published with XMP and a development signature, and with `--rivagan` with the invisible
mark; each is attacked and detected against the job's ledger. The mark is read on the first `--read` of them, since that
takes some 8 s of CPU a picture. Every second product stands in its scene a second time, in another pose, as a near
twin. Photos of FOLDER count as false alarms. Needs the extras c2pa and invisible.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.provenance import C2paSettings, InvisibleMarkSettings, ProvenanceSettings
from dreamcache.core.records import Done
from dreamcache.mini.world.design import design_from_seed
from dreamcache.mini.world.render import pose_from_seed, render
from dreamcache.mini.world.scenes import SCENES
from dreamcache.provenance.c2pa_container import has_manifest
from dreamcache.provenance.detect import detect
from dreamcache.provenance.development import development_chain
from dreamcache.provenance.hashes import Pixels, as_text, distances, hashes_of
from dreamcache.provenance.invisible import InvisibleMark
from dreamcache.provenance.ledger_index import SURE_DISTANCE, LedgerIndex, open_index
from dreamcache.provenance.marker import Marker
from dreamcache.storage.image_store import ImageStore, decode_image
from dreamcache.storage.ledger import Ledger

SIDE = 512
BITS = "5ac1e97b"
COLUMNS = ("xmp", "c2pa_intact", "c2pa_tampered", "pixels", "hash", "ledger", "wrong")
Attack = Callable[[bytes], bytes]


def picture(seed: int) -> Pixels:
    """uint8 [SIDE, SIDE, 3]; an odd seed shows the product and scene of the one before it, in another pose."""
    product = seed - seed % 2
    scene = SCENES[product // 2 % len(SCENES)]
    return render(
        design_from_seed(product), pose=pose_from_seed(seed), scene=scene, scene_seed=product, size=SIDE
    )[0]


def publish(folder: Path, count: int, rivagan: str | None = None) -> list[bytes]:
    """The files of a job with `count` images; its ledger lies in `folder`. rivagan: networks of an invisible mark."""
    folder.mkdir(parents=True, exist_ok=True)
    chain = development_chain("Attacks")
    for name in ("chain", "key"):
        (folder / f"{name}.pem").write_bytes(getattr(chain, name))
    c2pa = C2paSettings(certificate=str(folder / "chain.pem"), key=str(folder / "key.pem"))
    invisible = InvisibleMarkSettings(model=rivagan, bits=BITS) if rivagan else None
    provenance = ProvenanceSettings(c2pa=c2pa, invisible=invisible)
    spec = JobSpec(name="attacks", catalog="c.csv", output=str(folder), provenance=provenance)
    marker, images = Marker(spec.provenance, spec.name), ImageStore(spec.output, spec.images)
    files, records = [], []
    for seed in range(count):
        rgb, item_id = picture(seed), f"{seed:064x}"
        data = marker.encode(rgb, spec.images, {"item_id": item_id, "subject_id": "", "prompt": ""})
        images.commit(item_id, data)
        files.append(data)
        records.append(
            Done(
                item_id=item_id, key=images.key_of(item_id), width=SIDE, height=SIDE, num_bytes=len(data),
                pixel_sha256="", perceptual_hash=as_text(hashes_of(decode_image(data))),
            )
        )  # fmt: skip
    Ledger(spec.output).append(records)
    return files


def saved(change: Callable[[Image.Image], Image.Image], **options: object) -> Attack:
    """Another program's copy of a changed picture, without metadata."""

    def attack(data: bytes) -> bytes:
        out = io.BytesIO()
        changed = change(Image.open(io.BytesIO(data)).convert("RGB"))
        changed.save(out, **{"format": "PNG", **options})  # type: ignore[arg-type]
        return out.getvalue()

    return attack


def same(image: Image.Image) -> Image.Image:
    """No change of the pixels."""
    return image


def scaled(share: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.resize(
        (round(image.width * share), round(image.height * share)), Image.Resampling.LANCZOS
    )


def cropped(share: float, left: float = 0.5, top: float = 0.5) -> Callable[[Image.Image], Image.Image]:
    """left, top: where the rest lies, 0.5 in the middle."""

    def change(image: Image.Image) -> Image.Image:
        width, height = round(image.width * share), round(image.height * share)
        x, y = round((image.width - width) * left), round((image.height - height) * top)
        return image.crop((x, y, x + width, y + height))

    return change


def screenshot(image: Image.Image) -> Image.Image:
    """A page of 1280 x 800 with a bar above, the picture at four fifths of its size, another column beside it."""
    page = Image.new("RGB", (1280, 800), (250, 250, 250))
    page.paste((60, 64, 72), (0, 0, 1280, 70))
    page.paste((225, 228, 232), (760, 120, 1180, 600))
    page.paste(scaled(0.8)(image), (160, 120))
    return page


def with_xmp(data: bytes) -> bytes:
    """A program that keeps XMP and writes the file anew."""
    image, out = Image.open(io.BytesIO(data)), io.BytesIO()
    packet = image.info["XML:com.adobe.xmp"]
    image.convert("RGB").save(
        out, "JPEG", quality=90, xmp=packet.encode() if isinstance(packet, str) else packet
    )
    return out.getvalue()


def tampered(data: bytes) -> bytes:
    """One letter of the item's id in the XMP packet is another one."""
    place = data.index(b"dreamcache:item=") + 20
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


ATTACKS: dict[str, Attack] = {
    "none": lambda data: data,
    "metadata stripped": saved(same),
    "one byte changed": tampered,
    "JPEG 90, XMP kept": with_xmp,
    "JPEG 90": saved(same, format="JPEG", quality=90),
    "JPEG 75": saved(same, format="JPEG", quality=75),
    "JPEG 50": saved(same, format="JPEG", quality=50),
    "WebP 80": saved(same, format="WEBP", quality=80),
    "resize 0.75": saved(scaled(0.75)),
    "resize 0.5": saved(scaled(0.5)),
    "crop 90 %": saved(cropped(0.9)),
    "crop 80 %": saved(cropped(0.8)),
    "crop 70 %": saved(cropped(0.7)),
    "crop 70 %, corner": saved(cropped(0.7, 0.0, 1.0)),
    "border 10 %": saved(lambda image: ImageOps.expand(image, image.width // 10, (255, 255, 255))),
    "rotation 3 degrees": saved(lambda image: image.rotate(3, Image.Resampling.BICUBIC)),
    "rotation 90 degrees": saved(lambda image: image.transpose(Image.Transpose.ROTATE_90)),
    "mirrored": saved(ImageOps.mirror),
    "brightness 1.2": saved(lambda image: ImageEnhance.Brightness(image).enhance(1.2)),
    "blur 1.5 px": saved(lambda image: image.filter(ImageFilter.GaussianBlur(1.5))),
    "screenshot": saved(screenshot),
    "crop 80 %, 0.75, JPEG 75": saved(
        lambda image: scaled(0.75)(cropped(0.8, 0.2, 0.7)(image)), format="JPEG", quality=75
    ),
    "screenshot, JPEG 75": saved(screenshot, format="JPEG", quality=75),
}


def measure(
    files: list[bytes],
    index: LedgerIndex,
    marks: Sequence[InvisibleMark] = (),
    attacks: Mapping[str, Attack] = MappingProxyType(ATTACKS),
    num_read: int | None = None,
) -> dict[str, dict[str, int]]:
    """Per attack: files whose layer was found. num_read: files whose pixels are read, all of them for None. wrong: the
    ledger named another item, e.g. a twin."""
    table: dict[str, dict[str, int]] = {}
    for name, attack in attacks.items():
        counts = dict.fromkeys(COLUMNS, 0)
        for number, data in enumerate(files):
            is_read = num_read is None or number < num_read
            found = detect(name, attack(data), index=index, marks=marks if is_read else ())
            nearest = found.nearest
            assert nearest is not None
            right = int(nearest.item_id, 16) == number
            counts["xmp"] += found.xmp is not None and found.xmp.is_ai
            counts["c2pa_intact"] += found.c2pa.is_ai
            counts["c2pa_tampered"] += found.c2pa.state == "tampered"
            counts["pixels"] += found.invisible is not None and found.invisible.is_operators
            counts["hash"] += nearest.is_same and right and nearest.decided_by == "hash"
            counts["ledger"] += nearest.is_same and right
            counts["wrong"] += nearest.is_same and not right
        table[name] = counts
        print(name, counts, file=sys.stderr, flush=True)
    return table


def false_alarms(
    folder: Path, index: LedgerIndex, marks: Sequence[InvisibleMark] = (), num_read: int | None = None
) -> dict[str, object]:
    """Photos that a layer marks, how far their nearest images are, and how many bits of the mark they show."""
    alarms = dict.fromkeys(("photos", "xmp", "c2pa", "pixels", "ledger"), 0)
    nearest, bits = [], []
    for path in sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png")
    ):
        data = path.read_bytes()
        is_read = num_read is None or len(bits) < num_read
        found = detect(path.name, data, index=index, marks=marks if is_read else ())
        if found.nearest is None:
            continue
        alarms["photos"] += 1
        alarms["xmp"] += found.xmp is not None and found.xmp.is_ai
        alarms["c2pa"] += has_manifest(data, "jpeg")
        alarms["ledger"] += found.nearest.is_same
        nearest.append(found.nearest.distance)
        if found.invisible is not None:
            alarms["pixels"] += found.invisible.is_operators
            bits.append(found.invisible.agreeing)
    return {
        **alarms,
        "distances of the nearest": _distribution(nearest),
        "bits of the mark": _distribution(bits),
    }


def _distribution(values: list[int]) -> dict[str, int]:
    """How often each value, the smallest first."""
    return {str(value): values.count(value) for value in sorted(set(values))}


def among_a_million(files: list[bytes], count: int = 1_000_000) -> dict[str, int]:
    """Attacked copies whose own image is nearest by hash among `count` random ones, and those of the random ones that
    the hash alone would take for the copy."""
    own = np.stack([hashes_of(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))) for data in files])
    stored = np.concatenate([own, np.random.default_rng(0).integers(0, 2**64, (count, 4), np.uint64)])
    result = {
        "queries": 0,
        "own among nearest 50": 0,
        "false by hash alone": 0,
        "bytes in memory": stored.nbytes,
    }
    began = time.perf_counter()
    for name in ("JPEG 50", "crop 70 %", "border 10 %", "crop 80 %, 0.75, JPEG 75"):
        for number, data in enumerate(files[:25]):
            rgb = np.asarray(Image.open(io.BytesIO(ATTACKS[name](data))).convert("RGB"))
            bits = distances(stored, hashes_of(rgb))
            result["queries"] += 1
            result["own among nearest 50"] += number in np.argpartition(bits, 50)[:50]
            result["false by hash alone"] += bool((bits[len(own) :] <= SURE_DISTANCE).any())
    result["ms a look-up"] = round(1000 * (time.perf_counter() - began) / max(1, result["queries"]))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--read", type=int, help="pictures and photos whose mark is read; all without it")
    parser.add_argument("--rivagan", help="folder of the networks of the invisible mark")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = publish(Path(folder), options.images, options.rivagan)
        index = open_index([folder])
        networks = options.rivagan
        marks = [InvisibleMark(InvisibleMarkSettings(model=networks, bits=BITS))] if networks else []
        table = measure(files, index, marks, num_read=options.read)
        alarms = false_alarms(options.photos, index, marks, options.read) if options.photos else {}
        million = among_a_million(files)
    print(f"| attack | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for name, counts in table.items():
        print(f"| {name} | {' | '.join(str(counts[column]) for column in COLUMNS)} |")
    print(json.dumps({"images": len(files), "false alarms": alarms, "among a million": million}, indent=1))


if __name__ == "__main__":
    main()
