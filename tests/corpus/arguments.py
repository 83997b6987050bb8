"""Command lines as shells, scripts and tired people write them: each ends with exit 1 or 2 in one line, or works.

`JOB`, `OUTPUT`, `FOLDER` and `MISSING` stand for a job file, a finished output, an empty folder, and nothing.
"""

from __future__ import annotations

from tests.corpus.kind import USED, Kind, Write

JOB, OUTPUT, FOLDER, MISSING, LONG = "{job}", "{output}", "{folder}", "{folder}/none", "x" * 5000


def line(*words: str) -> Write:
    """A command line with these words; the test fills in the places."""
    return lambda folder: list(words)


PLACES = {
    "empty": "",
    "a space": " ",
    "NUL": "a\0b",
    "half a pair": "\udcff",
    "5,000 characters": LONG,
    "many steps": "a/" * 3000,
    "a device": "/dev/zero",
    "a process's memory": "/proc/self/mem",
    "below a device": "/dev/null/x",
    "another scheme": "ftp://host/x",
    "a bare scheme": "s3://",
    "a bucket with a space": "s3://my bucket/x",
    "an open bracket": "http://[::1",
    "a file of another host": "file://other/x",
    "a percent sign": "file:///%00",
    "OSC 52": "\x1b]52;c;Zm9v\x07",
    "a YAML that is not there": "none.yaml",
    "a job file that is a folder": "{folder}/dir.yaml",
}
READ = {
    f"{verb[0]} {name}": line(verb[0], *verb[1:], place) if verb[-1] != "--output" else line(*verb, place)
    for name, place in PLACES.items()
    for verb in (
        ("status",),
        ("outputs",),
        ("gallery",),
        ("plan",),
        ("cache", "ls"),
        ("replay", "ab", "--output"),
    )
    # An empty cache is no error.
    if verb != ("cache", "ls")
    or name in ("NUL", "half a pair", "5,000 characters", "another scheme", "a bare scheme")
}
SETTINGS = {
    value[:30]: line("plan", JOB, "--set", value)
    for value in (
        "=",
        "=1",
        ".=1",
        "samples=",
        "samples..x=1",
        ".samples=1",
        "samples.x=1",
        "samples=1e999",
        "samples=.nan",
        "samples=-5",
        "samples=1000000000000",
        "samples=" + "9" * 5000,
        "samples=" + "[" * 5000,
        "prompts=&a [*a]",
        "prompts=!!python/name:os.system",
        "prompts={a: b, a: c}",
        "name=../x",
        "name=\udcff",
        "name=a\x1bb",
        "a" * 5000 + "=1",
        "model.base.x.y=1",
        "limits.max_gpu_hours=.nan",
        "limits=5",
        "1=2",
        "workers.batch_size=0",
        "generation.height=7",
    )
}
NUMBERS = {
    " ".join(words)[:50]: line(*words)
    for words in (
        ("plan", JOB, "--calibrate", "-1"),
        ("plan", JOB, "--calibrate", "nan"),
        ("plan", JOB, "--calibrate", "9" * 5000),
        ("outputs", OUTPUT, "--limit", "1.5"),
        ("outputs", OUTPUT, "--limit", "-1"),
        ("outputs", OUTPUT, "--limit", "x"),
        ("export", OUTPUT, FOLDER, "--shard-mb", "0"),
        ("export", OUTPUT, FOLDER, "--shard-mb", "-1"),
        ("export", OUTPUT, FOLDER, "--shard-mb", "9" * 30),
        ("demo", "--subjects", "0"),
        ("demo", "--subjects", "9" * 30),
        ("init", "{folder}/new", "--sample", "-1"),
        ("init", "{folder}/new", "--sample", "9" * 30),
        ("bench", "scale", "--items", "x"),
        ("bench", "scale", "--items", ""),
        ("bench", "scale", "--items", "-10"),
        ("bench", "scale", "--items", "9" * 5000),
        ("bench", "overhead", "--items", "1"),
        ("outputs", OUTPUT, "--where", "subject_id=\udcff"),
        ("bench", "segment", "--images", "0"),
        ("bench", "segment", "--size", "9" * 30),
        ("bench", "segment", "--segmenters", "magic"),
        ("bench", "segment", "--segmenters", ""),
        ("cache", "gc", FOLDER, "--older-than-days", "nan"),
        ("cache", "gc", FOLDER, "--older-than-days", "-1"),
        ("adapter", "recommend", FOLDER, "--text-scale", "nan"),
        ("adapter", "recommend", FOLDER, "--image-scale", "1e999"),
        ("adapter", "recommend", FOLDER),
        ("stop", "x", "--wait", "nan", "--address", "http://127.0.0.1:9"),
        ("submit", JOB, "--grace", "nan"),
        ("submit", JOB, "--driver-cpus", "-1"),
    )
}
CHOICES = {
    " ".join(words)[:50]: line(*words)
    for words in (
        ("outputs", OUTPUT, "--status", "don"),
        ("outputs", OUTPUT, "--status", ""),
        ("outputs", OUTPUT, "--where", "color"),
        ("outputs", OUTPUT, "--where", "=x"),
        ("outputs", OUTPUT, "--where", "nothing=x"),
        ("outputs", OUTPUT, "--export", "x"),
        ("export", OUTPUT, FOLDER, "--to", "zip"),
        ("export", OUTPUT, FOLDER, "--layout", "{nothing}"),
        ("export", OUTPUT, FOLDER, "--layout", "{"),
        ("export", OUTPUT, FOLDER, "--layout", "{0}"),
        ("export", OUTPUT, FOLDER, "--layout", "{item_id.__class__}"),
        ("export", OUTPUT, FOLDER, "--layout", "{item_id:9999999999}"),
        ("export", OUTPUT, FOLDER, "--layout", "../../{item_id}.png"),
        ("export", OUTPUT, FOLDER, "--on-collision", "maybe"),
        ("export", OUTPUT, FOLDER, "--where", "nothing=x"),
        ("export", OUTPUT, "ftp://host/x"),
        ("export", OUTPUT, "a\0b"),
        ("export", OUTPUT, ""),
        ("export", OUTPUT, "/proc/x", "--to", "csv"),
        ("retry", JOB, "--status", "done", "--dry-run"),
        ("retry", JOB, "--status", "", "--dry-run"),
        ("run", JOB, "--dry-run"),
        ("schema", "jobs"),
        ("logs", "x", "--follow", "--json"),
        ("replay", "", "--output", OUTPUT),
        ("replay", "zz", "--output", OUTPUT),
        ("replay", "[", "--output", OUTPUT),
        ("replay", "\udcff", "--output", OUTPUT),
        ("submit", JOB, "--code", "both"),
        ("submit", JOB, "--env", ""),
    )
}
FILES = {
    " ".join(words)[:60]: line(*words)
    for words in (
        ("train", MISSING),
        ("train", "/dev/zero"),
        ("evaluate", MISSING),
        ("evaluate", FOLDER),
        ("evaluate", "a\0b"),
        ("synthesize", "/proc/self/mem"),
        ("synthesize", LONG),
        ("init", "/dev/null/x"),
        ("init", "a\0b"),
        ("init", "{folder}/new", "--name", "../x"),
        ("init", "{folder}/new", "--name", "a: b\n- c"),
        ("demo", "--output", "/dev/null/x"),
        ("demo", "--output", "a\0b"),
        ("adapter", "show", MISSING),
        ("adapter", "show", "a\0b"),
        ("adapter", "show", "\udcff"),
        ("adapter", "show", LONG),
        ("adapter", "show", "s3://"),
        ("adapter", "import", MISSING, "--base", "mini", "--output", FOLDER),
        ("adapter", "import", "/dev/zero", "--base", "mini", "--output", FOLDER),
        ("adapter", "import", FOLDER, "--base", "mini", "--output", FOLDER),
        ("adapter", "import", JOB, "--base", "mini", "--output", FOLDER),
        ("adapter", "import", JOB, "--base", "nowhere", "--output", FOLDER),
        ("adapter", "recommend", MISSING, "--text-scale", "1"),
        ("adapter", "recommend", "a\0b", "--text-scale", "1"),
        ("cache", "show", FOLDER, ""),
        ("cache", "show", FOLDER, "\udcff"),
        ("cache", "show", "a\0b", "ab"),
        ("cache", "verify", "ftp://x/y"),
    )
}
FINE = {
    " ".join(words)[:60]: line(*words)
    for words in (
        ("status", OUTPUT, "--json"),
        ("outputs", OUTPUT, "--limit", "0"),
        ("outputs", OUTPUT, "--where", "subject_id=水"),
        ("outputs", OUTPUT, "--subject", "\x1b]52;c;Zm9v\x07"),
        ("plan", JOB, "--set", "samples=2"),
        ("plan", JOB, "--set", "class_name=\u202egpj"),
        ("export", OUTPUT, "{folder}/list.csv", "--to", "csv"),
        ("init", "{folder}/new", "--sample", "0"),
        ("cache", "ls", FOLDER),
        ("schema", "job"),
        ("--version",),
        ("adapter", "show", "mini"),
    )
}


def _kind(name: str, inputs: dict[str, Write], code: str = "refused") -> Kind:
    exit_code = 0 if code == USED else 2
    return Kind(
        name=f"arguments/{name}", door="arguments", code=code, inputs=inputs, exit_code=exit_code, s3=False
    )


KINDS = [
    _kind("places that are none", READ),
    _kind("--set", SETTINGS),
    _kind("numbers", NUMBERS),
    _kind("choices", CHOICES),
    _kind("files", FILES),
    _kind("fine", FINE, USED),
]
