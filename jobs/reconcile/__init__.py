"""Plan and ledger compared: what is done, what remains, what changed, what no plan needs any more.

    plan parts + ledger --join--> windows --remaining--> rows to run
                                          --changes----> new, unchanged, changed, orphaned
                                          --prune------> objects to delete

Works in windows of bounded memory. Knows both tables; knows nothing of Ray.
"""
