"""DreamCache on SDXL: job files, and what an image costs at its true shapes."""
