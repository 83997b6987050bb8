"""What is retried, how often, and what is not. Knows no Ray, models or files.

| what goes wrong                          | what follows                                        | budget             |
|------------------------------------------|-----------------------------------------------------|--------------------|
| bad row, photo, mask or prompt; NaN      | the item is recorded as failed, once: it would end  | none               |
| image; an exception while one item       | the same way again                                  |                    |
| stands alone                             |                                                     |                    |
| an exception or no memory in a batch     | the batch is halved until the item at fault is      | none               |
|                                          | alone; if nothing fits, the micro-batch is halved   |                    |
| a damaged file in the feature cache      | the reference is encoded again                      | none               |
| a worker's process dies                  | Ray starts it again; its in-flight items are tried  | max_attempts       |
|                                          | in halves; an item that kills it alone so often is  |                    |
|                                          | recorded as failed, `worker_died`                   |                    |
| an item hangs                            | its worker ends itself; then as above, `timeout`    | item_timeout_s     |
| a worker dies again and again, with      | the run ends with exit code 1                       | max_worker_deaths  |
| nothing done between                     |                                                     |                    |
| a node is lost, or the pipeline as a     | what has no record is run again, after a jittered   | max_rounds         |
| whole                                    | pause                                               |                    |
| storage: 5xx, SlowDown, time-outs,       | the request is sent again; pauses are jittered and  | storage_patience_s |
| resets, cut bodies                       | grow                                                |                    |
| nothing is committed for long: workers   | a note says so, with what Ray reports; the run      | stall_notice_s     |
| that cannot start, machines that do not  | waits, since machines may take long                 |                    |
| come                                     |                                                     |                    |
| storage: denied, expired, no bucket; a   | the run ends with exit code 1: every item would     | none               |
| model that does not load; a lost device  | meet it; the same command resumes once it is fixed  |                    |
"""

from __future__ import annotations

from dataclasses import dataclass

from dreamcache.core.config.fields import AtLeastOne, NotNegative, Positive
from dreamcache.core.config.rules import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class FailurePolicy(Settings):
    """The named budgets of the table above.

    max_attempts: how often an item may kill its worker while it stands alone.
    item_timeout_s: longest time for the batch an item is generated in (for each try of a quality gate), and for
    encoding one photo.
    max_worker_deaths: of one worker in a row, with nothing finished between them.
    max_rounds: of the pipeline in a row, with nothing recorded between them.
    stall_notice_s: without any item committed, until a note says so.
    storage_patience_s: how long a worker retries a storage that does not answer; encoders and generators for half of
    item_timeout_s at most.
    storage_timeout_s: how long one request waits for its answer.
    """

    max_attempts: AtLeastOne = 3
    item_timeout_s: Positive = 600.0
    max_worker_deaths: AtLeastOne = 12
    max_rounds: AtLeastOne = 3
    stall_notice_s: Positive = 300.0
    storage_patience_s: NotNegative = 120.0
    storage_timeout_s: Positive = 60.0
