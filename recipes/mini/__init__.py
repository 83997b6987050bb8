"""The embedded model: how it was trained (`make`), measured (`measure`), and on which data (`dataset.py`)."""
