"""Training data from open models alone (docs/method.md section 5): a file for each stage, Parquet parts between them.

    captions --parts--> filter --kept--> render --parts--> masks --parts--> dataset/{train,validation}

A part's name is the hash of all that decides it, and it is created once: a stage that runs again produces the missing
parts only, whichever worker produced the others. Nothing here knows Ray; nothing is imported before it is used.
"""
