"""The product's own command, called as a user would: what is trained or drawn by it, is by nothing else.

Knows the command's name. Must not import jobs or workers.
"""

import subprocess
import sys
from pathlib import Path

from dreamcache.core.errors import DreamCacheError


def dreamcache(*arguments: str) -> None:
    """Runs `dreamcache ARGUMENTS` of this environment. Raises DreamCacheError if it fails; it has told why."""
    command = [str(Path(sys.executable).with_name("dreamcache")), *arguments]
    ended = subprocess.run(command, check=False)
    if ended.returncode:
        raise DreamCacheError(
            f"'dreamcache {' '.join(arguments)}' ended with {ended.returncode}; it says why above"
        )
