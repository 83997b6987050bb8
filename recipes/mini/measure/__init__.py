"""Measurements of the embedded model on designs it has never seen, all of them through the product's own pipeline.

    queries -> (generate | real renders) -> objects (segmenter) -> features, attributes, scenes -> benchmark -> report
    a job's manifest -> sheets          curve.jsonl -> curve          parquet samples + dreamcache train -> ablation

Features that were not trained here need `pip install 'dreamcache[measure]'`. Knows the world, the pipeline and, for
the ablation, the product's trainer; knows nothing of how the model was trained.
"""
