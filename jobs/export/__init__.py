"""Exporting a job's images, under names of your own, to a folder, CSV, Hugging Face image folder or WebDataset.

    manifest.parquet -> Rows (filtered, streamed) -> Names (layout, safe, unique) -> folder | hf | webdataset
                             +-> csv                                                 images read by threads

rows.py names.py     what is exported, and how each file is called
fetch.py             one image of the job, checked; progress.py reports how far the export is
folder.py huggingface.py webdataset.py csv_file.py     one form each

Memory holds neither all images nor all rows. A repeated export resumes: a file with the same content is kept.
"""

from jobs.export.export import FORMS, Exported, export_outputs

__all__ = ["FORMS", "Exported", "export_outputs"]
