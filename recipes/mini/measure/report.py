"""The benchmark's report as Markdown. Knows the report's keys only."""

from typing import Any

_ORDER = (
    "adapters", "text only", "shuffled reference", "chance", "chance, class known", "real, through the VAE", "real",
)  # fmt: skip
_EXACT = "exact mask"


def markdown(report: dict[str, Any]) -> str:
    """Tables of retrieval, attributes and scenes; every number with its interval."""
    weights = report["weights"]
    lines = [
        f"Weights: base `{weights['base']}`, adapter `{weights['adapter']}` (step {weights['adapter_step']}), "
        f"generated in {weights['dtype']}. "
        f"Features: {report['features']}. Objects: {report['objects']}. Intervals: {report['intervals']}.",
        "",
    ]
    for name, group in report["retrieval"].items():
        lines += _retrieval(name, group) + _attributes(name, group)
    lines += ["| scene of the prompt, all classes | recognised | CLIP-T |", "|---|---|---|"]
    for name, row in report["scenes"].items():
        lines.append(f"| {name} | {cell(row['accuracy'])} | {cell(row['CLIP-T'])} |")
    return "\n".join(lines) + "\n"


def _retrieval(name: str, group: dict[str, Any]) -> list[str]:
    """retrieval@1 by each finder of objects; the other figures by the first."""
    count, finders = group["candidates"], [key for key in group["finders"] if key != _EXACT]
    first = finders[0]
    head = " | ".join(f"retrieval@1, {key}" for key in (*finders, _EXACT))
    lines = [
        f"| {name}, {count} designs, {group['pictures']} pictures | {head} | @5, {first} | mean rank, {first} |",
        "|---" * (len(finders) + 4) + "|",
    ]
    chances = {"chance": count, "chance, class known": group["designs of a class"]}
    for arm in _ORDER:
        if candidates := chances.get(arm):
            cells = [cell([1 / candidates])] * len(finders) + [""]
            cells += [cell([min(1, 5 / candidates)]), cell([(candidates + 1) / 2], 1)]
        else:
            row, exact = group["finders"][first][arm], group["finders"][_EXACT].get(arm)
            cells = [cell(group["finders"][key][arm]["retrieval@1"]) for key in finders]
            cells += [cell(exact["retrieval@1"]) if exact else ""]
            cells += [cell(row["retrieval@5"]), cell(row["mean rank"], 1)]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    overlaps = ", ".join(f"{key} {v[0]:.2f}" for key, v in group["overlap of found and true masks"].items())
    missed = group["finders"][first]["adapters"]["no object found"]
    return [
        *lines,
        "",
        f"Found and exact masks of the true renders overlap (intersection over union): {overlaps}. In {missed:.1%} "
        f"of the adapters' pictures '{first}' found no object, and the whole picture was used.",
        "",
    ]


def _attributes(name: str, group: dict[str, Any]) -> list[str]:
    rows = group["attributes"]
    names = list(next(iter(rows.values())))
    lines = [f"| {name}: attribute kept | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {arm} | " + " | ".join(cell(row[key]) for key in names) + " |" for arm, row in rows.items()]
    return [
        *lines,
        "",
        "Proportions: how often they are nearer to the own design's than to another's of its class (chance 0.5).",
        "",
    ]


def cell(values: list[float], digits: int = 3) -> str:
    """A mean, with its interval where there is one."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return "{0:.{d}f} ({1:.{d}f} to {2:.{d}f})".format(*values, d=digits)
