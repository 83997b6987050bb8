"""What a subject's row is checked for before it is planned.

Knows subjects, the job's matrix and the embedded model's world; knows nothing of photos or ids.
"""

from __future__ import annotations

from dreamcache.core.config.job import MAX_ITEMS_PER_ROW
from dreamcache.core.errors import SpecError
from dreamcache.core.records import Subject
from jobs.planning.catalog import BadRow
from jobs.planning.catalog.rows import bad_row
from jobs.planning.scenes import Matrix

OTHER_WORLD = (
    "'mini' knows its own rendered products only: with these photos it shows the path from catalog to images, and not "
    "their quality; docs/models.md lists the base models for products"
)


def is_of_minis_world(subject: Subject) -> bool:
    """Whether the embedded model was trained on such products."""
    from dreamcache.mini.catalog import is_of_this_world

    return is_of_this_world(subject.subject_id, subject.class_name)


def too_many_images(subject: Subject, images: int) -> BadRow:
    """The row of a subject whose prompts give more images than a row may."""
    where = f"subject '{subject.subject_id}'"
    rule = f"a row may give at most {MAX_ITEMS_PER_ROW:,} images, its prompts x samples give {images:,}"
    return bad_row(0, subject.subject_id, "bad_row", f"{where}: {rule}; use fewer")


def check_taken(subject: Subject, matrix: Matrix) -> None:
    """Raises SpecError for an attribute of the matrix that the catalog has as well: which one would a prompt mean?"""
    taken = matrix.names & subject.attributes.keys() if matrix.names else ()
    if taken:
        raise SpecError(
            f"matrix.{min(taken)}: must have a name that is no column of the catalog, subject '{subject.subject_id}' "
            f"has one; rename one of the two"
        )
