"""A product feed of 200 https:// photos on a TLS server of this machine, as one job on the embedded model.

Among them are rows of a hostile merchant: each costs itself.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image

import jobs
from tests.command import dreamcache, write_job
from tests.tls_server import TlsServer

NUM_PHOTOS = 200


def photo(number: int) -> bytes:
    image = Image.new("RGB", (64, 64), "white")
    image.paste((number, 255 - number, number * 7 % 256), (12, 12, 52, 52))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def bad_photos(server: TlsServer) -> dict[str, tuple[str, str]]:
    """(URI, code) by subject."""
    return {
        "to-metadata": (server.url("/to?u=https://169.254.169.254/latest/meta-data/"), "host_not_allowed"),
        "to-ray": (server.url("/to?u=https://127.0.0.1:8265/api/jobs/"), "host_not_allowed"),
        "to-http": (server.url(f"/to?u=http://127.0.0.1:{server.port}/p/1.png"), "bad_redirect"),
        "other-host": ("https://cdn.example/a.png", "host_not_allowed"),
        "number": (f"https://2130706433:{server.port}/p/1.png", "bad_image_uri"),
        "endless": (server.url("/odd/endless"), "too_large"),
        "bomb": (server.url("/odd/gzip-bomb"), "bad_response"),
        "gone": (server.url("/p/999.png"), "missing_image"),
        "page": (server.url("/status?n=200"), "empty_file"),
    }


@pytest.mark.slow
@pytest.mark.ray
def test_a_feed_of_https_photos(tmp_path: Path) -> None:
    files = {f"/p/{number}.png": photo(number) for number in range(NUM_PHOTOS)}
    with TlsServer(files) as server:
        rows = {f"sku-{number}": server.url(f"/p/{number}.png") for number in range(NUM_PHOTOS)}
        bad = bad_photos(server)
        with (tmp_path / "feed.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["subject_id", "class_name", "image"])
            table.writerows([name, "mug", uri] for name, uri in rows.items())
            table.writerows([name, "mug", uri] for name, (uri, _) in bad.items())
        job = write_job(
            tmp_path,
            catalog=str(tmp_path / "feed.csv"),
            output=str(tmp_path / "out"),
            prompts=["a photo of a {class_name} on the beach"],
            catalog_hosts=[
                {"host": f"127.0.0.1:{server.port}", "networks": ["127.0.0.0/8"], "ca": server.ca}
            ],
            limits={"max_bytes": 1_000_000},
            workers={
                "encoders": {"count": 1, "cpus": 0.5},
                "generators": {"count": 1, "cpus": 1},
                "batch_size": 16,
            },
        )
        ran = dreamcache("run", job, "--json")
        assert ran.returncode == 3, ran.stderr
        report = json.loads(ran.stdout)
        assert (report["done"], report["failed"]) == (NUM_PHOTOS, len(bad))
        records = {row["subject_id"]: row for row in jobs.outputs(str(tmp_path / "out")).to_pylist()}
        assert {name: records[name]["code"] for name in bad} == {
            name: code for name, (_, code) in bad.items()
        }
        assert all(records[name]["status"] == "done" for name in rows)
        assert len({records[name]["reference_id"] for name in rows}) == NUM_PHOTOS
        # Read once to plan, once to encode, once for the gallery's thumbnail of those that it shows.
        assert all(1 <= count <= 4 for path, count in server.asked.items() if path in files)
        again = dreamcache("run", job, "--json")
        assert (again.returncode, json.loads(again.stdout)["done"]) == (3, NUM_PHOTOS)
