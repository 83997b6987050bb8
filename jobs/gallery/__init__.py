"""The static gallery of a job: one page that needs no server and asks nothing of the network.

    manifest table + reference photos -> build.write_gallery -> gallery/index.html   page, style and script
                         |                                      gallery/data.js      items, as one JSON string
                         +-> thumbnail.make_thumbnail ->         gallery/references/  small photos

Knows the manifest's columns; knows nothing of storage (a `write` function is handed in), models or Ray.
"""

from jobs.gallery.build import ITEM_LIMIT, shown_subjects, thumbnail_keys, write_gallery
from jobs.gallery.thumbnail import Scaler, make_thumbnail

__all__ = ["ITEM_LIMIT", "Scaler", "make_thumbnail", "shown_subjects", "thumbnail_keys", "write_gallery"]
