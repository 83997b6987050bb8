"""Write the data of the ablations into a folder and copy their files beside it.

    python -m recipes.mini.ablations --work DIR [--designs 4000]; then dreamcache ablate DIR/s3-timestep.yaml

Knows the world and the files of this folder. Must not know models or training.
"""

import argparse
import shutil
from pathlib import Path

from dreamcache.mini.catalog import write_sample_catalog
from dreamcache.mini.world import HELD_OUT_FROM
from recipes.mini.dataset import write_training_data

VALIDATION = 48


def prepare(work: Path, designs: int, subjects: int) -> list[Path]:
    """Samples, validation samples and a catalog of designs that neither of them shows; returns the copied files."""
    write_training_data(work / "samples", designs)
    # One scene of each: the wrong reference of a validation sample is then another design's.
    write_training_data(work / "validation", VALIDATION, first_seed=HELD_OUT_FROM + 600, scenes=1)
    write_sample_catalog(work, subjects)
    return [Path(shutil.copy(file, work)) for file in sorted(Path(__file__).parent.glob("*.yaml"))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.mini.ablations", description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--designs", type=int, default=4_000, help="training designs, two samples of each")
    parser.add_argument("--subjects", type=int, default=50, help="held-out designs that are evaluated")
    options = parser.parse_args()
    for file in prepare(options.work, options.designs, options.subjects):
        print(f"dreamcache ablate {file}")


if __name__ == "__main__":
    main()
