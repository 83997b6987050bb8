"""The published folder as it is, and folders of images that someone else made."""

from __future__ import annotations

from pathlib import Path

import pytest

from dreamcache.core.errors import CatalogError
from dreamcache.evaluation.dreambench import read_dreambench
from dreamcache.evaluation.folder import prompt_of, read_folder
from tests.evaluation.bench import write_bench, write_text

DREAMBENCH = Path(__file__).parents[3] / "shared/dreambench"


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


def test_a_benchmark_in_the_published_layout(tmp_path: Path) -> None:
    folder = write_text(tmp_path, {"mug_1": "mug", "cat2": "cat", "gone": "toy"})
    for name in (
        "mug_1/01.jpg",
        "mug_1/00.jpg",
        "mug_1/notes.txt",
        "cat2/00.jpg",
        "unlisted/00.jpg",
        "LICENSE.md",
    ):
        write(folder / name)
    bench = read_dreambench(str(folder))
    mug, cat = bench.subjects
    assert [Path(photo).name for photo in mug.photos] == ["00.jpg", "01.jpg"]
    assert mug.prompts == (
        "a {class_name} in the jungle",
        "a {class_name} on top of a mirror",
        "a red {class_name}, the owner's",
    )
    assert cat.filled() == ("a cat in the jungle", "a cat wearing a red hat")
    assert (mug.is_live, cat.is_live, bench.missing) == (False, True, ("gone",))


def test_a_part_of_a_benchmark(tmp_path: Path) -> None:
    folder = write_bench(tmp_path, 3)
    bench = read_dreambench(str(folder), num_prompts=1)
    assert {len(subject.prompts) for subject in bench.subjects} == {1}
    one = bench.subjects[1].subject_id
    assert [s.subject_id for s in read_dreambench(str(folder), subjects=(one,)).subjects] == [one]
    with pytest.raises(CatalogError, match="subject 'nobody'"):
        read_dreambench(str(folder), subjects=("nobody",))


def test_subjects_are_called_as_the_folder_or_as_the_authors_call_them(tmp_path: Path) -> None:
    folder = write_text(tmp_path, {"bear_plushie": "stuffed animal", "can": "can"})
    for name in ("bear_plushie", "can"):
        write(folder / name / "00.jpg")
    for words, names in (("dreambench", ["stuffed animal", "can"]), ("authors", ["bear plushie", "can"])):
        subjects = read_dreambench(str(folder), words=words).subjects  # type: ignore[arg-type]
        assert [subject.class_name for subject in subjects] == names
        assert subjects[0].filled()[0] == f"a {names[0]} in the jungle"


def test_what_is_no_benchmark_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="needs prompts_and_classes"):
        read_dreambench(str(tmp_path))
    (tmp_path / "prompts_and_classes.txt").write_text("subject_name,class\n")
    with pytest.raises(CatalogError, match="0 classes"):
        read_dreambench(str(tmp_path))


@pytest.mark.skipif(not DREAMBENCH.is_dir(), reason=f"no DreamBench photos at {DREAMBENCH}")
def test_the_published_files() -> None:
    bench = read_dreambench(str(DREAMBENCH))
    assert len(bench.subjects) + len(bench.missing) == 30
    assert len(bench.subjects) == 24
    assert {len(subject.prompts) for subject in bench.subjects} == {25}
    assert all(len(subject.photos) >= 4 for subject in bench.subjects)
    by_id = {subject.subject_id: subject for subject in bench.subjects}
    assert by_id["dog6"].filled()[-1] == "a cube shaped dog"
    assert by_id["can"].prompts[12] == "a {class_name} with the Eiffel Tower in the background"


def test_prompts_of_file_names() -> None:
    prompts = ("first", "second")
    expected = {
        "1.png": "second",
        "01_3.png": "second",
        "7.png": None,
        "a_dog_in_the_snow.png": "a dog in the snow",
        "a dog in the snow-2.png": "a dog in the snow",
        "image.png": None,
    }
    assert {name: prompt_of([name], prompts) for name in expected} == expected
    assert prompt_of(["0", "3.png"], prompts) == "first"
    assert prompt_of([], prompts) is None


def test_a_folder_of_images(tmp_path: Path) -> None:
    for name in ("mug/0.png", "mug/0.mask.png", "mug/a_mug_on_sand.png", "cat/1_2.jpg", "readme.txt"):
        write(tmp_path / name)
    found = read_folder(str(tmp_path), {"mug": ["a mug"], "cat": ["a cat", "a red cat"]})
    described = {(image.subject_id, image.prompt, image.mask is not None) for image in found}
    assert described == {("mug", "a mug", True), ("mug", "a mug on sand", False), ("cat", "a red cat", False)}


def test_a_table_says_more_than_names(tmp_path: Path) -> None:
    write(tmp_path / "x" / "9.png")
    write(tmp_path / "x" / "unlisted.png")
    (tmp_path / "prompts.csv").write_text("file,prompt,subject_id,class_name\nx/9.png,a cup on ice,mug,cup\n")
    (image,) = read_folder(str(tmp_path), {})
    assert (image.subject_id, image.prompt, image.class_name) == ("mug", "a cup on ice", "cup")
    (tmp_path / "prompts.csv").write_text("file,prompt\ny.png,a cup\n")
    with pytest.raises(CatalogError, match=r"names 'y.png', a file that does not exist"):
        read_folder(str(tmp_path), {})
