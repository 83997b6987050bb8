"""Training of adapters as a job: train.yaml -> Ray Train -> checkpoints, curves, adapter."""
