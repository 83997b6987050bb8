"""Templates are filled from a subject's columns and reach nothing else."""

from __future__ import annotations

import pytest

from dreamcache.core.records import Subject
from jobs.planning.prompts import TemplateError, fill

SUBJECT = Subject(
    subject_id="mug-1",
    class_name="mug",
    image="mug.png",
    attributes={"color": "red", "size": "", "note": "{color}", "item no.": "7"},
)


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("a photo of a {color} {class_name}", "a photo of a red mug"),
        ("{subject_id}, no. {item no.}", "mug-1, no. 7"),
        ("  a\n  {class_name} ", "a mug"),
        ("plain {{braces}}", "plain {braces}"),
        ("{note}", "{color}"),  # what a column holds is text, not a template
    ],
)
def test_placeholders_are_filled(template: str, prompt: str) -> None:
    assert fill(template, SUBJECT) == prompt


@pytest.mark.parametrize(
    ("template", "code", "message"),
    [
        ("a {colour} mug", "unknown_placeholder", "unknown placeholder {colour} (did you mean 'color'?)"),
        ("a {} mug", "unknown_placeholder", "unknown placeholder {}"),
        ("a {0} mug", "unknown_placeholder", "unknown placeholder {0}"),
        ("a {size} mug", "empty_placeholder", "{size} has no value for this subject; fill the column"),
        ("a {color!r} mug", "bad_prompt", "must be a plain name, without '!' or ':'"),
        ("a {color:>99999999} mug", "bad_prompt", "must be a plain name, without '!' or ':'"),
        ("a {color mug", "bad_prompt", "write {{ and }} for plain braces"),
        ("a color} mug", "bad_prompt", "write {{ and }} for plain braces"),
        (" ", "bad_prompt", "must not be empty"),
    ],
)
def test_what_cannot_be_filled_is_said(template: str, code: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill(template, SUBJECT)
    assert caught.value.code == code
    assert message in str(caught.value)
    assert str(caught.value).startswith("subject 'mug-1': prompt '")


@pytest.mark.parametrize(
    "template",
    ["{class_name.__class__}", "{class_name.__class__.__mro__}", "{class_name[0]}", "{attributes}", "{self}"],
)
def test_a_template_reaches_no_object(template: str) -> None:
    with pytest.raises(TemplateError, match="unknown placeholder") as caught:
        fill(template, SUBJECT)
    assert "<class" not in str(caught.value)
