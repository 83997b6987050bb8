"""Entry point: the verbs joined, errors printed as one line, exit codes.

0 all done, 1 error, 2 usage (command line or job file), 3 finished with failed items,
4 stopped by a budget.
"""

from __future__ import annotations

import sys

import typer

from dreamcache.core.errors import CatalogError, DreamCacheError, SpecError
from jobs.cli import adapter, bench, cache, check, cluster, evaluate, job, read, start, synthesize, train

INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Personalized images of every product of a catalog, from one photo each, as one batch job.",
)
for verb in (
    start.demo,
    start.init,
    job.plan,
    job.run,
    job.status,
    job.retry,
    read.outputs,
    read.replay,
    job.gallery,
):
    app.command()(verb)
app.command()(train.train)
app.command()(synthesize.synthesize)
app.command()(evaluate.evaluate)
app.command()(check.doctor)
cluster.add_to(app)
app.add_typer(cache.app, name="cache", help="The feature cache: list, show, verify, collect garbage.")
app.add_typer(bench.app, name="bench", help="Measurements of the program itself.")
app.add_typer(adapter.app, name="adapter", help="Adapters: import a published checkpoint, show one.")


def main() -> None:
    """Runs the command; an error of the user's is one line on stderr, never a traceback."""
    try:
        app()
    except (SpecError, CatalogError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except DreamCacheError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer has caught the KeyboardInterrupt
            print("stopped; the same command goes on from here", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
