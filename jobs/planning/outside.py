"""Which roots and web hosts a catalog needs besides its own: counted while it is planned, shown to be pasted.

    photos outside --OutsideRoots.add--> /photos/2024: 812, s3://suppliers: 90 --> catalog_roots: [/photos, s3://suppliers]

Knows roots as texts; opens nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import yaml

from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.locations import OBJECT_SCHEMES
from dreamcache.core.web_url import HTTPS

MAX_COUNTED = 1000
MAX_SHOWN = 10


class OutsideRoots:
    """Photos by the root that they would need. A hostile catalog names any number of folders; few are held."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, root: str) -> None:
        self._counts[root] += 1
        if len(self._counts) > MAX_COUNTED:
            self._counts = _merged(self._counts, MAX_COUNTED // 2)

    def most(self) -> tuple[tuple[str, int], ...]:
        """(root, photos), those with most photos first; at most MAX_SHOWN."""
        merged = _merged(self._counts, MAX_SHOWN)
        return tuple(sorted(merged.items(), key=lambda item: (-item[1], item[0]))[:MAX_SHOWN])


def setting_line(named: Sequence[str], outside: Sequence[str]) -> str:
    """The line of the job file that names these roots too. named: those that it names already."""
    roots = list(dict.fromkeys([*named, *outside]))
    # What a terminal would obey, or show in another order, is written as an escape, which YAML reads back.
    plain = all(root.isprintable() for root in roots)
    text: str = yaml.safe_dump(
        {"catalog_roots": roots}, default_flow_style=None, width=10**9, allow_unicode=plain
    )
    return text.strip()


def hosts_line(named: Sequence[CatalogHost], outside: Sequence[str]) -> str:
    """The line of the job file that names these sites too, each https://host. named: entries that it has already."""
    entries: list[dict[str, object]] = []
    for host in named:
        settings = {name: getattr(host, name) for name in ("networks", "ca")}
        entry = {"host": host.host, **{name: value for name, value in settings.items() if value}}
        entries.append({name: list(value) if name == "networks" else value for name, value in entry.items()})
    entries += [{"host": site.removeprefix(HTTPS)} for site in outside]
    text: str = yaml.safe_dump(
        {"catalog_hosts": entries}, default_flow_style=None, width=10**9, sort_keys=False
    )
    return text.strip()


def _merged(counts: Counter[str], limit: int) -> Counter[str]:
    """The same photos under at most `limit` roots, where folders have folders above them: the deepest go first."""
    roots = Counter(counts)
    while len(roots) > limit:
        depths = {root: _depth(root) for root in roots}
        deepest = max(depths.values())
        if deepest <= 1:
            break  # buckets, and folders right below /
        above: Counter[str] = Counter()
        for root, photos in roots.items():
            above[str(PurePosixPath(root).parent) if depths[root] == deepest else root] += photos
        roots = above
    return _without_nested(roots)


def _without_nested(roots: Counter[str]) -> Counter[str]:
    """A folder below another one needs no line of its own."""
    kept: Counter[str] = Counter()
    for root in sorted(roots):
        above = next((one for one in kept if f"{root}/".startswith(f"{one.rstrip('/')}/")), root)
        kept[above] += roots[root]
    return kept


def _depth(root: str) -> int:
    return 0 if root.startswith((*OBJECT_SCHEMES, HTTPS)) else len(PurePosixPath(root).parts) - 1
