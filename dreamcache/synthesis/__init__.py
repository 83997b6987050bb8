"""Training data from open models only (docs/method.md section 5): each stage a file, each hand-over Parquet parts.

    captions --parts--> filter --kept--> render --parts--> masks --parts--> dataset/{train,validation}

A part's name is a hash of all that decides it, and it is created once: a stage that is run again makes what is
missing, whoever made the rest. Nothing here knows Ray; nothing is imported before it is used.
"""
