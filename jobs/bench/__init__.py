"""Measurements of the job layer itself: what `dreamcache bench` runs."""
