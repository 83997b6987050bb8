"""Exporting a job's images, under names of your own, to a folder, CSV, Hugging Face image folder or WebDataset.

    manifest.parquet -> Rows (filtered, streamed) -> Names (layout, safe, unique) -> folder | hf | webdataset
                             +-> csv                                                 images fetched by threads

rows.py names.py     what is exported, and how each file is called
fetch.py             images read in parallel, a bounded number at a time; progress.py tells how far it is
folder.py huggingface.py webdataset.py csv_file.py     one form each

Nothing holds all images or all rows. Repeating an export continues it: what is there with the same size is kept.
"""

from jobs.export.export import FORMS, Exported, export_outputs

__all__ = ["FORMS", "Exported", "export_outputs"]
