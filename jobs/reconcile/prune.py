"""Pruning: deleting the images of items that are planned no more, so that the ledger never claims one that is gone.

    orphans that are done --announce--> their records are void --> delete the images --> finished

Announced first (see `storage.pruned` for what that fences off). Deleting is repeated after a crash by the next
prune; until then no run draws those items again. What remains open: a pruner that is halted within its last
`DELETES` requests and continues after another has finished its work, and after the same item was planned and
made again, could delete that new image; storage has no delete that could be refused then.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from dreamcache.storage.ledger import Ledger
from dreamcache.storage.open_store import join as join_uri
from dreamcache.storage.open_store import store_for
from jobs.planning.planner import Plan
from jobs.reconcile.join import Join

DELETES = 100
READERS = 16


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
    """Goes on with prunes that broke off, whatever is planned now; returns the number of their images."""
    return sum(_delete(ledger, uri) for uri in ledger.pruned.unfinished())


def _delete(ledger: Ledger, uri: str) -> int:
    keys = ledger.pruned.read(uri)["key"].to_pylist()
    store, output = store_for(ledger.uri), ledger.pruned.output_uri
    with ThreadPoolExecutor(READERS, thread_name_prefix="prune") as pool:
        for start in range(0, len(keys), DELETES):
            if ledger.pruned.is_finished(uri):  # by another pruner: from now on the items may be made again
                return len(keys)
            list(pool.map(lambda key: store.delete(join_uri(output, key)), keys[start : start + DELETES]))
    ledger.pruned.finish(uri)
    return len(keys)
