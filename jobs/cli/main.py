"""Entry point: the verbs joined, errors printed as one line, exit codes.

0 all done, 1 error, 2 usage (command line or job file), 3 finished with failed items,
4 stopped by a budget, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, NoReturn

import typer

from dreamcache import __version__
from dreamcache.core.errors import CatalogError, DreamCacheError, SpecError
from dreamcache.core.texts import one_line, shown
from jobs.cli import (
    ablate,
    adapter,
    bench,
    cache,
    cluster,
    demo,
    deploy,
    detect,
    doctor,
    evaluate,
    export,
    gallery,
    init,
    logs,
    outputs,
    plan,
    provenance,
    replay,
    retry,
    review,
    run,
    schema,
    status,
    stop,
    submit,
    synthesize,
    train,
)
from jobs.cli import list as list_verb
from jobs.cli.common import add_verb
from jobs.cli.console import quiet_core, quiet_libraries, take_verbose

INTERRUPTED = 130
STARTS_RAY = (
    "demo",
    "run",
    "retry",
    "evaluate",
    "train",
    "ablate",
    "synthesize",
    "bench",
    "replay",
    "submit",
    "doctor",
)
TRACEBACK = "DREAMCACHE_TRACEBACK"
"""Set, an unexpected error ends with its traceback."""

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Personalized images of every product of a catalog, from one photo each, as one batch job.",
)


def _version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"dreamcache {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Print what Ray and libraries print too; goes with every command."),
    ] = False,
) -> None:
    """Personalized images of every product of a catalog, from one photo each, as one batch job."""


for name, function, examples in (
    ("demo", demo.demo, demo.EXAMPLES),
    ("init", init.init, init.EXAMPLES),
    ("schema", schema.schema, schema.EXAMPLES),
    ("plan", plan.plan, plan.EXAMPLES),
    ("run", run.run, run.EXAMPLES),
    ("retry", retry.retry, retry.EXAMPLES),
    ("submit", submit.submit, submit.EXAMPLES),
    ("status", status.status, status.EXAMPLES),
    ("list", list_verb.list_jobs, list_verb.EXAMPLES),
    ("logs", logs.logs, logs.EXAMPLES),
    ("stop", stop.stop, stop.EXAMPLES),
    ("outputs", outputs.outputs, outputs.EXAMPLES),
    ("export", export.export, export.EXAMPLES),
    ("detect", detect.detect, detect.EXAMPLES),
    ("gallery", gallery.gallery, gallery.EXAMPLES),
    ("review", review.review, review.EXAMPLES),
    ("replay", replay.replay, replay.EXAMPLES),
    ("train", train.train, train.EXAMPLES),
    ("ablate", ablate.ablate, ablate.EXAMPLES),
    ("synthesize", synthesize.synthesize, synthesize.EXAMPLES),
    ("evaluate", evaluate.evaluate, evaluate.EXAMPLES),
    ("doctor", doctor.doctor, doctor.EXAMPLES),
):
    add_verb(app, name, examples)(function)
app.add_typer(cache.app, name="cache", help="The feature cache: list, show, verify, collect garbage.")
app.add_typer(adapter.app, name="adapter", help="Adapters: import a published checkpoint, show one.")
app.add_typer(cluster.app, name="cluster", help="A Ray cluster and an S3 server on this machine.")
app.add_typer(deploy.app, name="deploy", help="Manifests for KubeRay and EC2, from a job file.")
app.add_typer(
    provenance.app, name="provenance", help="Marks of generated images: certificates for signed manifests."
)
app.add_typer(bench.app, name="bench", help="Measurements of the program itself, on this machine.")


def main() -> None:
    """Runs the command; an error of the user's is one line on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # what the terminal's encoding lacks ends no command
    words = sys.argv[1:]
    is_verbose = take_verbose(words)
    sys.argv[1:] = words
    if not is_verbose:
        quiet_libraries()
        if words and words[0] in STARTS_RAY and "--help" not in words:
            quiet_core()
    try:
        _check_words(words)
        app()
    except (SpecError, CatalogError) as error:
        _end(str(error), 2)
    except DreamCacheError as error:
        _end(str(error), 1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has caught the KeyboardInterrupt
            print("stopped; the same command resumes from here", file=sys.stderr)
        raise
    except OSError as error:
        _end(_words_for(error), 1)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        _end(
            f"unexpected {type(error).__name__}: {str(error) or 'no message'}; this is a fault of dreamcache's: run "
            f"the command again with {TRACEBACK}=1 and report what it prints",
            1,
        )


def _check_words(words: list[str]) -> None:
    """Raises SpecError for an argument that no file, setting or value can be."""
    for word in words:
        if "\0" in word or any("\ud800" <= char <= "\udfff" for char in word):
            raise SpecError(f"argument {shown(word)}: must be UTF-8 without NUL; correct it")


def _end(message: str, code: int) -> NoReturn:
    print(f"error: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _words_for(error: OSError) -> str:
    """A file that a command reads or writes itself: a catalog of its own, a list, a page."""
    name = error.filename if isinstance(error.filename, str) else "a file"
    return f"{name}: must be readable and writable, got '{error.strerror or error}'; check path, rights and space"


if __name__ == "__main__":
    main()
