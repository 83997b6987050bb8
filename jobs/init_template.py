"""A job to start from: job.yaml with its schema, and a catalog, empty or of rendered sample products.

Knows the embedded model's settings.
"""

from __future__ import annotations

import json
from pathlib import Path

from dreamcache.core.errors import SpecError

SAMPLE_SIZE = 256
SCHEMA_FILE = "job.schema.json"

JOB_YAML = """\
# yaml-language-server: $schema={schema}
# A dreamcache job. 'dreamcache plan job.yaml' shows what it would do, 'dreamcache run job.yaml' does it.
name: {name}
catalog: catalog.csv          # CSV, JSONL, Parquet, a folder of images, or an s3:// URI of one
catalog_roots: []             # folders and s3://bucket/prefix of photos that lie elsewhere than the catalog
catalog_hosts: []             # web hosts of https:// photos: [{{host: cdn.example}}]
output: output                # a folder, s3://bucket/prefix or gs://bucket/prefix

# {{class_name}}, {{subject_id}} and every further column of the catalog can be used.
prompts:
  - a photo of a {{class_name}} on the beach
  - a photo of a {{class_name}} in the snow
  - a photo of a {{class_name}} on a wooden table
  - a photo of a {{class_name}} in the jungle
  - a photo of a {{class_name}} on green grass
  - a photo of a {{class_name}} against a brick wall
samples: 1                    # images of each product and prompt
seed: 0

model:
  base: mini                  # or a diffusers folder, or a hub id with 'revision'
generation:
  guidance: combined          # or joint
  text_scale: 3.0
  image_scale: 3.5
  num_inference_steps: 20
  scheduler: ddim
images:
  format: png
workers:
  generators: {{count: 1, cpus: 2}}
  batch_size: 8
"""

CATALOG_CSV = "subject_id,class_name,image\n"


def write_job_template(folder: Path, *, num_subjects: int, name: str) -> Path:
    """Writes job.yaml, its schema and catalog.csv; files that are there stay, but for the schema. The job file's path.

    Raises SpecError when the folder cannot be written.
    """
    job = folder / "job.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if num_subjects and not (folder / "catalog.csv").exists():
            from dreamcache.mini.catalog import write_sample_catalog

            write_sample_catalog(folder, num_subjects, size=SAMPLE_SIZE)
        elif not (folder / "catalog.csv").exists():
            (folder / "catalog.csv").write_text(CATALOG_CSV, "utf-8")
        if not job.exists():
            job.write_text(JOB_YAML.format(name=name, schema=SCHEMA_FILE), "utf-8")
        from jobs.schema import json_schema

        (folder / SCHEMA_FILE).write_text(json.dumps(json_schema("job"), indent=1) + "\n", "utf-8")
    except OSError as error:
        raise SpecError(f"folder '{folder}': must be writable: {error}") from error
    return job
