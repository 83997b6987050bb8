"""Settings files of the four kinds as clumsy and hostile people write them: each is refused in one line, with exit 2.

Each input returns the file's name: job, train, evaluate or synthesize, whose good forms are GOOD.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tests.corpus.kind import USED, Kind, Write

GOOD = {
    "job": "name: j\ncatalog: c.csv\noutput: o\nprompts: [a mug]\n",
    "train": "name: t\noutput: o\ntrain:\n  data: {path: d}\n",
    "evaluate": "name: e\noutput: o\nmethods:\n  - {name: m, images: i}\n",
    "synthesize": "name: s\noutput: o\n",
}


def text(content: str | bytes | Callable[[], bytes], kind: str = "job") -> Write:
    """A file that is all of this."""

    def write(folder: Path) -> str:
        data = content() if callable(content) else content
        (folder / f"{kind}.yaml").write_bytes(data.encode() if isinstance(data, str) else data)
        return f"{kind}.yaml"

    return write


def more(lines: str, kind: str = "job") -> Write:
    """A good file with these lines at its end."""
    return text(GOOD[kind] + lines + "\n", kind)


def in_all(lines: str) -> dict[str, Write]:
    return {f"{kind}: {lines[:40].strip()}": more(lines, kind) for kind in GOOD}


def _fifo(folder: Path) -> str:
    os.mkfifo(folder / "job.yaml")
    return "job.yaml"


def _folder(folder: Path) -> str:
    (folder / "job.yaml").mkdir()
    return "job.yaml"


def _link(target: str) -> Write:
    def write(folder: Path) -> str:
        (folder / "job.yaml").symlink_to(target)
        return "job.yaml"

    return write


LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))
BOMB = f"a0: &a0 [x, x, x, x, x, x, x, x, x]\n{LAUGHS}\n"

ALIASES = {
    **{f"{kind}: a billion laughs": text(BOMB + GOOD[kind], kind) for kind in GOOD},
    "a bomb as prompts": text(BOMB + "prompts: *a8\n" + GOOD["job"]),
    "a list in itself": more("columns: &a [*a]"),
    "a mapping in itself": more("columns: &a {x: *a}"),
    "an alias without an anchor": more("class_name: *nowhere"),
    "merged laughs": text("a: &a {x: 1}\nb: &b {<<: [*a, *a]}\n" + GOOD["job"]),
    "a bomb in --set's place": more("cache: &a [x]\nmodel: {base: [*a, *a, *a]}"),
    "a recursive key": more("? &a [*a]\n: 1"),
}
TWICE = {
    **{f"{kind}: name": more("name: again", kind) for kind in GOOD},
    "prompts": more("prompts: [a mug on snow]"),
    "a group": more("generation: {text_scale: 3}\ngeneration: {image_scale: 2}"),
    "within a group": more("generation: {text_scale: 3, text_scale: 2}"),
    "within a worker": more("workers:\n  generators:\n    count: 1\n    count: 2"),
    "quoted and bare": more("'samples': 1\nsamples: 2"),
    "in a method": text("name: e\noutput: o\nmethods:\n  - {name: m, images: i, images: k}\n", "evaluate"),
}
NUMBERS = {
    **{
        f"max_gpu_hours {value}": more(f"limits: {{max_gpu_hours: {value}}}")
        for value in (".nan", ".inf", -1, 0, "-.inf")
    },
    **{
        f"samples {value}": more(f"samples: {value}")
        for value in (10**12, 1.5, "1e12", -1, 0, ".nan", "'many'", "[1]")
    },
    "samples of 5,000 digits": more("samples: " + "9" * 5000),
    "samples in hexadecimal": more("samples: 0xffffffffffffffffffff"),
    "samples in base 60": more("samples: 1000:00:00"),
    "a seed of 40 digits": more("seed: " + "1" * 40),
    "a batch of a billion": more("workers: {batch_size: 1000000000}"),
    "a million million workers": more("workers: {generators: {count: 1000000000000}}"),
    "a height of a billion": more("generation: {height: 1000000000}"),
    "a scale of 1e300": more("generation: {text_scale: 1.0e+300}"),
    "prompts x samples": more("samples: 10000").__class__
    and text("name: j\ncatalog: c\noutput: o\nsamples: 9000\nprompts: [a, b, c]\n"),
    "a learning rate of NaN": text(
        "name: t\noutput: o\ntrain:\n  data: {path: d}\n  optimizer: {learning_rate: .nan}\n", "train"
    ),
    "a global batch of 1e12": text(
        "name: t\noutput: o\ntrain:\n  data: {path: d}\n  global_batch: 1000000000000\n", "train"
    ),
    "a negative bootstrap": more("bootstrap: {resamples: -5}", "evaluate"),
    "a scale of infinity in a sweep": text("name: e\noutput: o\nsweep: {combined: [.inf, 1]}\n", "evaluate"),
    "a seed below 0": more("seed: -1", "synthesize"),
}
DEEP = {
    "100,000 lists": text("[" * 100_000),
    "100,000 mappings": text("{a: " * 100_000),
    "10,000 lists in prompts": more("prompts: " + "[" * 10_000 + "]" * 10_000),
    "1,000 dashes": more("prompts:\n  " + "- " * 1000 + "x"),
    "500 indents": text("\n".join(" " * n + f"k{n}:" for n in range(500))),
    "31 levels": more("columns: " + "[" * 31 + "]" * 31),
    **{f"{kind}: 5,000 lists": more("x: " + "[" * 5000 + "]" * 5000, kind) for kind in GOOD},
    "100,000 lists never closed, in a key": text("? " + "[" * 100_000),
}
TEXTS = {
    "Latin-1": text("name: j\u00e9\n".encode("latin-1")),
    "UTF-16": text(GOOD["job"].encode("utf-16")),
    "NUL": text(GOOD["job"].encode() + b"class_name: a\0b\n"),
    "a control character": text(GOOD["job"].encode() + b"class_name: a\x07b\n"),
    "random bytes": text(bytes(range(256)) * 10),
    "100 MB": text(lambda: b"#" * 100_000_000),
    "5 MB of prompts": text(lambda: GOOD["job"].encode() + b"class_name: " + b"x" * 5_000_000),
    "empty": text(""),
    "a comment": text("# nothing\n"),
    "a text": text("just a text\n"),
    "a list": text("- a\n- b\n"),
    "a number": text("42\n"),
    "two documents": text(GOOD["job"] + "---\n" + GOOD["job"]),
    "a tab": text("name: j\n\tcatalog: c\n"),
    "a brace that is open": text("name: {\n"),
    "a quote that is open": text("name: 'j\n"),
    "a PNG": text(b"\x89PNG\r\n\x1a\n" + bytes(100)),
}
TAGS = {
    "an object of Python": more("x: !!python/object/apply:os.system ['touch /tmp/x']"),
    "a name of Python": more("x: !!python/name:os.system"),
    "a module of Python": more("x: !!python/module:os"),
    "a tuple of Python": more("prompts: !!python/tuple [a]"),
    "a tag of its own": more("x: !mine {a: 1}"),
    "an include": more("x: !include other.yaml"),
    "a set": more("prompts: !!set {a, b}"),
    "the 13th month": more("class_name: 2026-13-45"),
    "a number that is none": more("samples: !!int x"),
    "a float that is none": more("samples: !!float x"),
    "pairs that are none": more("x: !!pairs [1, 2]"),
    "an ordered map that is none": more("x: !!omap 1"),
    "a timestamp that is none": more("x: !!timestamp nonsense"),
}
KEYS = {
    **in_all("nonsense: 1"),
    **in_all("1: 2"),
    **in_all("? [a, b]\n: 1"),
    "null as a key": more("~: 1"),
    "true as a key": more("true: 1"),
    "a key of 10,000 characters": more("k" * 10_000 + ": 1"),
    "a key with OSC 52": more('"a\\e]52;c;Zm9v\\a": 1'),
    "a key with a date": more("2026-01-01: 1"),
    "a key that is a float": more(".nan: 1"),
}
TYPES = {
    "prompts is a mapping": more("columns: {}\nreference: 5"),
    "prompts is a text": text("name: j\ncatalog: c\noutput: o\nprompts: a mug\n"),
    "100,000 prompts of numbers": text(
        lambda: ("name: j\ncatalog: c\noutput: o\nprompts: [" + "1, " * 90_000 + "]\n").encode()
    ),
    "model is a list": more("model: [mini]"),
    "workers is null": more("workers: null"),
    "a name with a path": text("name: ../../etc\ncatalog: c\noutput: o\n"),
    "a name of 1,000 characters": text("name: " + "x" * 1000 + "\ncatalog: c\noutput: o\n"),
    "a catalog that is a mapping": text("name: j\ncatalog: {a: b}\noutput: o\n"),
    "a value with OSC 52": more('method: "\\e]52;c;Zm9v\\a"'),
    "a value of 100,000 characters": more("method: " + "x" * 100_000),
    "a value that turns text": more('method: "\\u202Egpj"'),
    "a date as a name": text("name: 2026-01-01\ncatalog: c\noutput: o\n"),
    "a secret in a wrong place": more("method: https://user:hunter2@host/x?X-Amz-Signature=hunter2"),
    "methods that are no list": text("name: e\noutput: o\nmethods: 5\n", "evaluate"),
    "a run that is a list": text("name: e\noutput: o\nmethods:\n  - {name: m, run: [1]}\n", "evaluate"),
    "a run with a number as key": text(
        "name: e\noutput: o\nmethods:\n  - {name: m, run: {1: 2}}\n", "evaluate"
    ),
    "a run with NaN": text(
        "name: e\noutput: o\nrun: {catalog: c, limits: {max_hours: .nan}}\nmethods: [{name: m}]\n", "evaluate"
    ),
}
FILES = {
    "none": lambda folder: "none.yaml",
    "a folder": _folder,
    "a pipe": _fifo,
    "/dev/zero": _link("/dev/zero"),
    "/dev/full": _link("/dev/full"),
    "/proc/self/mem": _link("/proc/self/mem"),
    "a link to itself": _link("job.yaml"),
    "a name of 300 characters": lambda folder: "x" * 300 + ".yaml",
    "a NUL in its name": lambda folder: "a\0b.yaml",
    "below a file": lambda folder: (folder / "f").write_text("x") and "f/job.yaml",
    "half a pair in its name": lambda folder: "\udcff.yaml",
}
FINE = {
    "anchors": text(
        "a: &p [a mug]\n".replace("a: ", "prompts: ") + "name: j\ncatalog: c\noutput: o\ncolumns: {}\n"
    ),
    "a text in Base64": more("class_name: !!binary aGVsbG8="),
    "an alias": text("name: &n j\ncatalog: c\noutput: o\nclass_name: *n\n"),
    "a merge": text(
        "name: e\noutput: o\nmethods:\n  - &m {name: m, images: i}\n  - {<<: *m, name: k}\n", "evaluate"
    ),
    "a mark of UTF-8": text(b"\xef\xbb\xbf" + GOOD["job"].encode()),
    "Windows line ends": text(GOOD["job"].replace("\n", "\r\n")),
    "comments": more("# nothing\n"),
    "two thousand prompts": text("name: j\ncatalog: c\noutput: o\nprompts:\n" + "- a mug\n" * 2000),
    **{f"{kind}: as it is": text(good, kind) for kind, good in GOOD.items()},
}


def _kind(name: str, inputs: dict[str, Write], code: str = "bad_spec") -> Kind:
    return Kind(
        name=f"spec/{name}",
        door="spec",
        code=code,
        inputs=inputs,
        exit_code=0 if code == USED else 2,
        s3=False,
    )


KINDS = [
    _kind("alias bombs", ALIASES),
    _kind("keys given twice", TWICE),
    _kind("absurd numbers", NUMBERS),
    _kind("deep nesting", DEEP),
    _kind("no YAML of ours", TEXTS),
    _kind("tags", TAGS),
    _kind("keys", KEYS),
    _kind("types", TYPES),
    _kind("no regular file", FILES),
    _kind("fine", FINE, USED),
]
