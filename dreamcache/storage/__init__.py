"""Where objects lie: one small object interface, and the kinds of objects that a job writes.

    open_store(uri) -> BoundStore (local folder | s3://)       open_store, store, local, s3
        ^                ^                  ^
    feature_cache     image_store        part_log              each writes whole objects, never parts of one
    <cache>/<base>/   images/<2 hex>/    <- ledger, pruned
        |                                   |
        +------- sealed_parquet: Parquet whose every byte is under one checksum

`schema` gives the columns of records, `arrow` opens the same locations for pyarrow.dataset and Ray Data. Nothing here
knows of torch, Ray or jobs.
"""
