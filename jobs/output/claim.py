"""An output folder belongs to one job or training: its spec, in a file that only we write, says which.

The file also says which format the folder has. A folder without a number is of the first format.

Knows the folder's storage; knows nothing of what else lies in it.
"""

from __future__ import annotations

import re

from dreamcache.core.errors import SpecError, StorageError
from dreamcache.storage.open_store import join, open_store
from dreamcache.storage.probe import check_conditional_writes, is_probe
from jobs.yaml_text import parse_yaml

FOLDER_FORMAT = 1
"""Rises when a file of the folder moves or means something else; a new file or column leaves it as it is."""
_FORMAT_LINE = re.compile(rb"^# Folder format (\d+)\.", re.MULTILINE)


def check_format(folder: str, spec_file: bytes) -> None:
    """Raises StorageError `newer_format` for the folder of a later release. spec_file: what `claim` wrote."""
    match = _FORMAT_LINE.search(spec_file)
    number = int(match[1]) if match else 1
    if number > FOLDER_FORMAT:
        raise StorageError(
            f"output '{folder}': has folder format {number}, this release reads up to {FOLDER_FORMAT}; update "
            "dreamcache to the release that wrote it, or choose another folder",
            code="newer_format",
        )


def claim(folder: str, file: str, *, kind: str, name: str, mark: str, spec: str) -> None:
    """Makes the folder `name`'s: writes `mark`, the format and `spec` as `file`. The owner may claim it again.

    kind: "job" or "training", in messages. mark: the file's first line, since a user's own file may have that name;
    such a file is never overwritten. Raises SpecError `other_job` when the folder is another's or holds other files,
    StorageError `no_conditional_writes` for a store on which two runs could overwrite each other, and `newer_format`
    as `check_format`.
    """
    store = open_store(folder)
    text = f"{mark}# Folder format {FOLDER_FORMAT}.\n{spec}".encode()

    def refuse(rule: str, remedy: str = "choose another folder") -> SpecError:
        return SpecError(f"output '{folder}': {rule}; {remedy}", code="other_job")

    if store.stat(file) is None:
        foreign = next((info for info in store.list() if not is_probe(store.key_of(info.uri))), None)
        if foreign is None:
            check_conditional_writes(store.backend, folder)
            if store.create(file, text):  # of two at once only one gets it
                return
        # Else another run has claimed it meanwhile: the claim is the first file of all.
        elif store.stat(file) is None:
            raise refuse(f"must be empty or this {kind}'s, but holds '{foreign.uri}' and no {file}")
    held = store.read(file)
    check_format(folder, held)
    owner = _owner(held, mark, join(folder, file))
    if not isinstance(owner, dict):
        raise refuse(f"must be empty or this {kind}'s, but holds a {file} that no run wrote")
    if owner.get("name") != name:
        raise refuse(
            f"belongs to {kind} '{owner.get('name')}', this one is '{name}'",
            f"choose another folder, or give this {kind} that name to continue it",
        )
    store.write(file, text)


def is_claimed_by(folder: str, file: str, *, name: str, mark: str) -> bool:
    """Whether `claim` has assigned the folder to `name`. Raises StorageError; writes nothing."""
    try:
        owner = _owner(open_store(folder).read(file), mark, join(folder, file))
    except (FileNotFoundError, SpecError):
        return False
    return isinstance(owner, dict) and owner.get("name") == name


def _owner(held: bytes, mark: str, uri: str) -> object:
    """The spec in a file that `claim` wrote; None for another's file. Raises SpecError where it is no YAML."""
    return parse_yaml(held, uri) if held.startswith(mark.encode()) else None
