"""dreamcache provenance: a certificate chain to try signed manifests with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.common import add_verb, echo, print_json
from jobs.cli.options import Json

INIT_EXAMPLES = (
    "dreamcache provenance init certificates --operator 'My Shop'",
    "dreamcache provenance init certificates --operator 'My Shop' --json",
)
FILES = {"chain": "chain.pem", "root": "root.pem", "key": "key.pem"}

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Marks of generated images: certificates for signed manifests."""


def init(
    folder: Annotated[str, typer.Argument(help="Folder for chain.pem, root.pem and key.pem.")],
    operator: Annotated[str, typer.Option(help="Name of the organization, as readers show it.")],
    as_json: Json = False,
) -> None:
    """Create a development certificate chain, which readers report as untrusted.

    For images that are published, get a certificate from an authority on the C2PA trust list instead. Files that are
    there stay: exit code 1.
    """
    from dreamcache.core.errors import SigningError
    from dreamcache.provenance.development import development_chain

    paths = {name: Path(folder).expanduser() / file for name, file in FILES.items()}
    there = [str(path) for path in paths.values() if path.exists()]
    if there:
        raise SigningError(
            f"{there[0]}: must not exist yet, a new key would replace the one that signed earlier images; choose "
            "another folder",
            code="bad_certificate",
        )
    chain = development_chain(operator)
    paths["key"].parent.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        rights = 0o600 if name == "key" else 0o644
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, rights), "wb") as file:
            file.write(getattr(chain, name))
    if as_json:
        print_json({
            **{name: str(path) for name, path in paths.items()},
            "trusted": False, "ends_on": chain.ends_on.isoformat(timespec="seconds"),
        })  # fmt: skip
        return
    echo(f"provenance:\n  c2pa:\n    certificate: {paths['chain']}\n    key: {paths['key']}")
    echo(
        f"\nThese lines belong into the job file. The chain is for development: readers report its signatures as "
        f"untrusted, unless they are given {paths['root']}. It ends on {chain.ends_on:%Y-%m-%d}."
    )


add_verb(app, "init", INIT_EXAMPLES)(init)
