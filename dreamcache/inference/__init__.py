"""Running a model on requests.

    photo --encode--> features --(feature cache)--> references --generate--> pixels --gate--> kept or rejected

    pipeline.py    `DreamCachePipeline`, the public Python API     families/   other methods with the same API
    attention.py   maps of where a place of the U-Net looked in the reference

Knows models, storage and evaluation; knows nothing of Ray or jobs. `families.describe` imports no torch.
"""
