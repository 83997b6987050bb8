"""Stage ship, not in `all`: the exported model replaces the one in the package."""

import shutil

from dreamcache.storage.models.adapter import check_adapter_fits, describe_adapter
from dreamcache.storage.models.base import describe_base
from dreamcache.storage.models.lookup import mini_folder
from recipes.mini.make.settings import Settings


def run(settings: Settings) -> None:
    """Copy `settings.target` to dreamcache/mini/weights. Raises where base and adapter do not fit."""
    source, packaged = settings.target, mini_folder()
    base = describe_base(str(source))
    check_adapter_fits(describe_adapter(str(source / "adapter"), base), base)
    fresh = packaged.with_name("weights.partial")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(source, fresh)
    shutil.rmtree(packaged)
    fresh.rename(packaged)
    print(f"ship: base {base.fingerprint[:16]} in {packaged}", flush=True)
