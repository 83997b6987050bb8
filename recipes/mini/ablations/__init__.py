"""The paper's ablations on the embedded model: a ready file each, and the data that they read."""
