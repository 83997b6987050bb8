"""An output folder belongs to one job or training: its spec, in a file that only we write, says to which.

Knows the folder's storage; knows nothing of what else lies in it.
"""

from __future__ import annotations

import yaml

from dreamcache.core.errors import SpecError
from dreamcache.storage.open_store import join, store_for
from dreamcache.storage.probe import check_conditional_writes, is_probe
from dreamcache.storage.store import relative_to


def claim(folder: str, file: str, *, kind: str, name: str, mark: str, spec: str) -> None:
    """Makes the folder `name`'s: writes `mark` and `spec` as `file`. Once more for who has it is no error.

    kind: "job" or "training", in messages. mark: the file's first line, since a user's own file may have that name;
    it is never overwritten. Raises SpecError `other_job` when the folder is another's or holds other files, and
    StorageError `no_conditional_writes` for a store on which two runs could overwrite each other.
    """
    store, uri, text = store_for(folder), join(folder, file), (mark + spec).encode()

    def refuse(rule: str, remedy: str = "choose another folder") -> SpecError:
        return SpecError(f"output '{folder}': {rule}; {remedy}", code="other_job")

    if store.stat(uri) is None:
        root = folder.rstrip("/") + "/"
        stranger = next(
            (info for info in store.list(root) if not is_probe(relative_to(info.uri, root))), None
        )
        if stranger is None:
            check_conditional_writes(store, folder)
            if store.create(uri, text):  # of two at once only one gets it
                return
        # Else another run has claimed it meanwhile: the claim is the first file of all.
        elif store.stat(uri) is None:
            raise refuse(f"must be empty or this {kind}'s, but holds '{stranger.uri}' and no {file}")
    held = store.read(uri)
    owner = yaml.safe_load(held) if held.startswith(mark.encode()) else None
    if not isinstance(owner, dict):
        raise refuse(f"must be empty or this {kind}'s, but holds a {file} that no run wrote")
    if owner.get("name") != name:
        raise refuse(
            f"belongs to {kind} '{owner.get('name')}', this one is '{name}'",
            f"choose another folder, or give this {kind} that name to go on with it",
        )
    store.write(uri, text)
