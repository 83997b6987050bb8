"""A Ray cluster and an S3 server on this machine: `dreamcache cluster up|env|status|down`.

cluster (verbs) -> nodes (options of ray and weed, state in a folder) -> processes (start, wait, stop)
"""
