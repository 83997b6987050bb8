"""Model folders, read without loading weights: where they are, what they contain, their fingerprints.

    lookup.py  name -> folder, embedded model or hub id      files.py     hashes and JSON of files
    base.py    base models of the Stable Diffusion layout    adapter.py   adapter folders
    encoders.py  encoders of metrics and of the quality gate

Imports no torch: the planner needs fingerprints on machines that have none.
"""
