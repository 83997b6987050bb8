"""The output folder: claimed, written, joined into the manifest, read, pruned, and one image of it made again."""
