"""The filter's rules one by one, its counts, and its report."""

from __future__ import annotations

from dreamcache.core.config.synthesize import CaptionSettings, FilterSettings
from dreamcache.synthesis import captions, filter


def caption(text: str, thing: str = "mug", category: str = "kitchen") -> dict[str, str]:
    return {"caption": text, "object": thing, "category": category}


def test_each_rule_drops_what_it_says() -> None:
    long = "a mug " + "on a very old table near the small window of a house by the sea"
    rows = [
        caption(long),
        caption(long.upper() + "."),  # the same words
        caption(long.replace("small", "wide")),  # 15 of 19 word pairs the same
        caption("a mug"),
        caption("a cup on a shelf in the hall"),
        caption("word " * 70 + "mug"),
        caption("a mug in the snow under tall trees"),
        caption("a mug in the hand of a statue"),
        caption("a lamp on a desk at night", "lamp", "home"),
        caption("a chair in the grass of a garden", "chair", "home"),
    ]
    rules = FilterSettings(similarity=0.7, max_per_object=2, max_per_category=1)
    kept, counts = filter.keep(rows, FilterSettings(similarity=0.7, max_per_object=2))
    assert [row["caption"] for row in kept] == [rows[i]["caption"] for i in (0, 6, 8, 9)]
    assert dict(counts.dropped) == {
        "exact_duplicate": 1, "near_duplicate": 1, "too_short": 1, "object_not_named": 1, "too_long": 1,
        "object_cap": 1,
    }  # fmt: skip
    assert (counts.num_before, counts.num_after) == (10, 4)
    _, capped = filter.keep(rows, rules)
    assert capped.dropped["category_cap"] == 4 and capped.num_after == 2


def test_similar_captions_below_the_limit_stay() -> None:
    rows = [caption("a mug on the beach at noon"), caption("a mug on the beach at night")]
    assert len(filter.keep(rows, FilterSettings(similarity=0.9))[0]) == 2
    assert len(filter.keep(rows, FilterSettings(similarity=0.6))[0]) == 1


def test_the_report_says_all_counts() -> None:
    made = captions.TemplateCaptioner(CaptionSettings(vocabulary="general"))(0, 400, 0)
    kept, counts = filter.keep(made.captions, FilterSettings())
    summary = counts.as_dict()
    assert summary["captions"] == 400 and summary["kept"] == len(kept) == 400 - sum(
        summary["dropped"].values()
    )
    assert (
        sum(row["kept"] for row in summary["by_object"])
        == sum(row["kept"] for row in summary["by_category"])
        == len(kept)
    )
    text = filter.report(counts)
    assert f"400 captions, {len(kept)} kept." in text and "█" in text and "exact_duplicate" in text
    assert filter.keep(made.captions, FilterSettings())[0] == kept
    assert filter.keep(kept, FilterSettings())[0] == kept
