"""BMP with runs, which Pillow decodes in Python, a run at a time. Knows the header only."""

from __future__ import annotations

import struct

from dreamcache.core.images.refusal import TooComplexError

RUN_BYTES = 4 << 20
_COMPRESSION_AT, _RUNS = 30, (1, 2)


def check_bmp(data: bytes) -> None:
    """Raises TooComplexError for a run-length encoded BMP of more than RUN_BYTES."""
    if len(data) < _COMPRESSION_AT + 4 or struct.unpack_from("<L", data, 14)[0] == 12:
        return
    if struct.unpack_from("<L", data, _COMPRESSION_AT)[0] in _RUNS and len(data) > RUN_BYTES:
        raise TooComplexError(
            f"a run-length encoded BMP may have at most {RUN_BYTES:,} bytes, got {len(data):,}"
        )
