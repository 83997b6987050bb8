"""Measurements of speed, and of what savings cost in identity: `savings` on the embedded model, `gpu` on one GPU."""
