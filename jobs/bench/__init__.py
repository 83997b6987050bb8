"""Measurements of the job layer itself, without a model: what `dreamcache bench` runs."""
