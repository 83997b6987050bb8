"""FLUX.2 klein at true size: FLOPs counted without weights, and timed with random ones on a GPU."""
