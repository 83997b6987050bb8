"""Ablations as a job: ablate.yaml -> a training for each variant and seed -> one evaluation -> the paper's table."""
