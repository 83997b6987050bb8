"""Evaluation as a job: eval.yaml -> images and references -> scores -> report."""
