"""Where things are kept: one small object interface, and the three kinds of objects a job writes.

    store_for(uri) -> Store (local folder | s3://)          filesystem, store, local, s3
        ^                ^                  ^
    feature_cache     image_store         ledger            each writes whole objects, never parts of one
    <cache>/<base>/   images/<2 hex>/     ledger/part-*
        |                                   |
        +------- sealed: Parquet whose every byte is under one checksum

`arrow` hands the same places to pyarrow.dataset and Ray Data. Nothing here knows of torch, Ray or jobs.
"""
