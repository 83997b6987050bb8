"""The benchmark's report as Markdown. Knows the report's keys only."""

from typing import Any

_ORDER = (
    "adapters", "text only", "shuffled reference", "chance", "chance, class known",
    "real, through the VAE", "real", "real, exact mask",
)  # fmt: skip


def markdown(report: dict[str, Any]) -> str:
    """Tables of retrieval and of scenes; every number with its interval."""
    weights = report["weights"]
    lines = [
        f"Weights: base `{weights['base']}`, adapter `{weights['adapter']}` (step {weights['adapter_step']}), "
        f"drawn in {weights['dtype']}. "
        f"Features: {report['features']}. Objects: {report['objects']}. Intervals: {report['intervals']}.",
        "",
    ]
    for name, group in report["retrieval"].items():
        lines += _retrieval(name, group)
    lines += ["| scene asked for, all classes | found | CLIP-T |", "|---|---|---|"]
    for name, row in report["scenes"].items():
        lines.append(f"| {name} | {cell(row['accuracy'])} | {cell(row['CLIP-T'])} |")
    return "\n".join(lines) + "\n"


def _retrieval(name: str, group: dict[str, Any]) -> list[str]:
    count, arms = group["candidates"], dict(group["arms"])
    for row, left in (("chance", count), ("chance, class known", group["designs of a class"])):
        chance = {"retrieval@1": 1 / left, "retrieval@5": min(1, 5 / left), "mean rank": (left + 1) / 2}
        arms[row] = {key: [value] for key, value in chance.items()}
    lines = [
        f"| {name}, {count} designs, {group['pictures']} pictures | retrieval@1 | retrieval@5 | mean rank |",
        "|---|---|---|---|",
    ]
    for arm in _ORDER:
        row = arms[arm]
        lines.append(
            f"| {arm} | {cell(row['retrieval@1'])} | {cell(row['retrieval@5'])} | {cell(row['mean rank'], 1)} |"
        )
    overlap = group["overlap of found and true masks"][0]
    missed = group["arms"]["adapters"]["no object found"]
    return [
        *lines,
        "",
        f"Found and exact masks of the true renders overlap by {overlap:.2f} (intersection over union); in "
        f"{missed:.1%} of the adapters' pictures no object was found, and the whole picture was taken.",
        "",
    ]


def cell(values: list[float], digits: int = 3) -> str:
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return "{0:.{d}f} ({1:.{d}f} to {2:.{d}f})".format(*values, d=digits)
