"""dreamcache schema."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from jobs.cli.common import print_json

EXAMPLES = ("dreamcache schema job", "dreamcache schema train")


def schema(
    kind: Annotated[
        Literal["job", "train", "evaluate", "synthesize", "ablate"], typer.Argument(help="The file's kind.")
    ],
) -> None:
    """Print the JSON Schema of a settings file, for editors.

    An editor with the YAML language server uses it after '# yaml-language-server: $schema=FILE' in the file.
    """
    from jobs.schema import json_schema

    print_json(json_schema(kind))
