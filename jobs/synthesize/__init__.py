"""Synthesis of training data as a job: synth.yaml -> captions -> filter -> images -> masks -> dataset."""
