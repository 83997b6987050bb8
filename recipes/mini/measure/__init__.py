"""Measurements of the embedded model on designs it has never seen, all of them through the product's own pipeline.

    questions -> (drawing | real renders) -> objects -> features -> benchmark: retrieval, scene accuracy -> report
    a job's manifest -> sheets          curve.jsonl -> curve          parquet samples + dreamcache train -> ablation

Features that were not trained here need `pip install 'dreamcache[measure]'`. Knows the world and the pipeline; knows
nothing of how the model was trained, and nothing of jobs: it reads their manifests as anybody may.
"""
