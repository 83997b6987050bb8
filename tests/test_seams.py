"""Seams of the product: `Any` in public annotations, whose ceilings only fall, and class names used once each.

python -m tests.test_seams      # counts by module
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("dreamcache", "workers", "jobs")
MOST_BARE, MOST_NESTED = 28, 72
"""bare: the whole annotation is `Any` or `Any | None`; nested: `Any` within it, as in `dict[str, Any]`."""


def seam_annotations(tree: ast.Module) -> Iterator[ast.expr]:
    """Annotations of parameters and results of public functions, and of public methods of public classes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield from _annotations(node)
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and (
                    item.name[:1] != "_" or item.name in ("__init__", "__call__")
                ):
                    yield from _annotations(item)


def _annotations(function: ast.FunctionDef) -> Iterator[ast.expr]:
    arguments = function.args
    parameters = [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]
    yield from (p.annotation for p in parameters if p is not None and p.annotation is not None)
    if function.returns is not None:
        yield function.returns


def kind_of(annotation: ast.expr) -> str | None:
    """ "bare", "nested", or None where there is no `Any`."""
    if ast.unparse(annotation) in ("Any", "Any | None"):
        return "bare"
    return "nested" if any(isinstance(n, ast.Name) and n.id == "Any" for n in ast.walk(annotation)) else None


def count_by_module() -> dict[str, Counter[str]]:
    """{path: {"bare": n, "nested": n}} of the modules that have any."""
    counts: dict[str, Counter[str]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            kinds = map(kind_of, seam_annotations(ast.parse(path.read_text())))
            counter = Counter(kind for kind in kinds if kind is not None)
            if counter:
                counts[str(path.relative_to(ROOT))] = counter
    return counts


def test_any_at_seams_does_not_grow() -> None:
    total = sum(count_by_module().values(), Counter[str]())
    assert total["bare"] <= MOST_BARE, "give the new seam a type, or a Protocol"
    assert total["nested"] <= MOST_NESTED


def test_a_class_name_means_one_thing() -> None:
    names = Counter(
        node.name
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []


if __name__ == "__main__":
    by_module = count_by_module()
    for name, counter in sorted(by_module.items(), key=lambda one: -one[1]["bare"]):
        print(f"{counter['bare']:3} bare {counter['nested']:3} nested  {name}")
    print(dict(sum(by_module.values(), Counter[str]())))
