"""Where a subject's class, or a photo's location, decides what is planned."""

from __future__ import annotations

from collections.abc import Callable

from dreamcache.core.config.job import JobSpec
from dreamcache.core.records import cache_key
from dreamcache.storage.open_store import store_for
from jobs.planning.catalog import BadRow, read_catalog
from jobs.planning.planner import plan


def test_features_prompted_with_the_class_have_a_key_for_each_class(
    make_spec: Callable[..., JobSpec],
) -> None:
    """One photo of two classes: two features where the class prompts the encoding pass, one where nothing does."""
    catalog = "subject_id,image,class_name\na,a.png,mug\nb,a.png,vase\n"

    def keys(**reference: str) -> list[str]:
        made = plan(make_spec(catalog, prompts=["on sand"], reference=reference))
        facts, rows = made.facts, made.table.to_pylist()
        expected = [
            cache_key(row["reference_id"], facts.base.fingerprint, facts.reference, row["class_name"])
            for row in rows
        ]
        assert [row["cache_key"] for row in rows] == expected
        return expected

    assert len(set(keys(text="a photo of a {class_name}", segmenter="none"))) == 2
    assert len(set(keys(segmenter="none"))) == 1


def test_a_catalog_in_s3_names_no_files_of_the_machine_that_reads_it(bucket: str) -> None:
    rows = ["a,photos/a.png", "b,s3://shop/b.png", "c,/etc/c.png", "d,~/d.png", "e,file:///e.png"]
    uri = f"{bucket}/catalog.csv"
    store_for(uri).write(uri, "\n".join(["subject_id,image", *rows, ""]).encode())
    entries = list(read_catalog(uri))
    bad = [entry for entry in entries if isinstance(entry, BadRow)]
    assert [(entry.subject_id, entry.code) for entry in bad] == [(name, "bad_image_uri") for name in "cde"]
    good = [entry.image for entry in entries if not isinstance(entry, BadRow)]
    assert good == [f"{bucket}/photos/a.png", "s3://shop/b.png"]
