"""Pruning: deletes the images of items that are planned no more, and the ledger never claims an image that is gone.

    orphans that are done --announce--> their records are void --> delete the images --> finished

Announced first (see `storage.pruned` for what that excludes). The next prune repeats the deletion after a crash;
until then no run generates those items again. What remains open: a pruner that is halted within its last
`DELETES` requests, and continues after another has finished its work and after the same item was planned and
generated again, could delete that new image; storage has no conditional delete.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.core.parallel import run_all
from dreamcache.storage.ledger import Ledger
from dreamcache.storage.open_store import open_store
from jobs.planning.planner import Plan
from jobs.reconcile.join import Join

DELETES = 100


def why_not(made_plan: Plan) -> str | None:
    """Why nothing may be pruned by this plan, or None.

    What cannot be read now has other ids than before, and its good images would count as orphans.
    """
    if not made_plan.num_unrunnable:
        return None
    return (
        f"nothing is pruned: {made_plan.num_unrunnable} planned items have a photo, row or prompt that cannot be used "
        f"now, and the images they had before would count as orphans; 'dreamcache plan' lists them: "
        f"fix the catalog or take those rows out, then prune again"
    )


def orphans(made_plan: Plan, ledger: Ledger) -> Iterator[pa.Table]:
    """Records of images whose items the plan has no more, resolved; a window of the plan's at a time."""
    with Join(made_plan.files, ledger.scan()) as join:
        for window in join.windows(["item_id"]):
            images = window.orphans.filter(pc.equal(window.orphans["status"], "done"))
            if images.num_rows:
                yield images


def prune_orphans(made_plan: Plan, ledger: Ledger) -> int:
    """Deletes orphans' images; returns how many. Their records are void before the first image goes."""
    pruned = 0
    for images in orphans(made_plan, ledger):
        _delete(ledger, ledger.pruned.announce(images))
        pruned += images.num_rows
    return pruned


def finish_prunes(ledger: Ledger) -> int:
    """Finishes prunes that were cut short, whatever is planned now; returns the number of their images."""
    return sum(_delete(ledger, uri) for uri in ledger.pruned.unfinished())


def _delete(ledger: Ledger, uri: str) -> int:
    keys = ledger.pruned.read(uri)["key"].to_pylist()
    output = open_store(ledger.pruned.output_uri)
    for start in range(0, len(keys), DELETES):
        if ledger.pruned.is_finished(uri):  # by another pruner: from now on the items may be generated again
            return len(keys)
        run_all(output.delete, keys[start : start + DELETES], name="prune")
    ledger.pruned.finish(uri)
    return len(keys)
