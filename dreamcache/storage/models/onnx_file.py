"""ONNX files that stand alone: read by path, known by content, run by onnxruntime on the CPU (optional extra).

Knows files and sessions; nothing of what a network does.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from dreamcache.core.errors import DreamCacheError, ModelError
from dreamcache.core.locations import expanded
from dreamcache.storage.bounded import open_regular
from dreamcache.storage.models.files import file_hash

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MOST_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxFile:
    """A network's file. sha256: of its content."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What workers will run, as `try_network` looks at it before.

    setting, code, extra: as in `open_session`. dimensions: of each input, how many. metadata: keys that it must have.
    """

    file: OnnxFile
    setting: str
    code: str
    extra: str
    dimensions: tuple[int, ...]
    metadata: tuple[str, ...] = ()


def onnx_file(folder: str, pattern: str, *, setting: str, code: str) -> OnnxFile:
    """The one file of a local folder that matches, e.g. `*det*.onnx`.

    setting: that names the folder. Raises ModelError with `code` where there is none, or several, or an unreadable one.
    """
    matches = sorted(expanded(folder).glob(pattern))
    try:
        if len(matches) != 1:
            raise OSError(f"{len(matches)} such files")
        with open_regular(matches[0], str(matches[0])) as (_, num_bytes):
            if num_bytes > MOST_BYTES:
                raise OSError(f"{num_bytes:,} bytes are more than {MOST_BYTES:,}")
        return OnnxFile(path=matches[0], sha256=file_hash(matches[0]))
    except (OSError, DreamCacheError) as error:
        raise ModelError(
            f"{setting}: folder '{folder}' must hold one readable file {pattern}, got '{error}'; 'make models' fetches "
            "it",
            code=code,
        ) from error


def has_runtime() -> bool:
    """Whether onnxruntime is installed."""
    return find_spec("onnxruntime") is not None


def open_session(
    file: OnnxFile, *, setting: str, code: str, extra: str, threads: int | None = None
) -> InferenceSession:
    """An onnxruntime session with this process's share of the cores.

    extra: of the package, that installs onnxruntime. threads: instead of this process's share. Raises ModelError with
    `code`.
    """
    if not has_runtime():
        raise ModelError(
            f"{setting}: needs onnxruntime, which is not installed; pip install 'dreamcache[{extra}]', or leave the "
            "setting out",
            code=code,
        )
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # A worker has a share of the machine, which Ray states so; 0 takes all cores.
    options.intra_op_num_threads = threads or int(os.environ.get("OMP_NUM_THREADS") or 0)
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(file.path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ModelError(
            f"{setting}: '{file.path}' must be an ONNX network that onnxruntime can run, got {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}; fetch it again",
            code=code,
        ) from error


@lru_cache(maxsize=32)
def try_network(network: Network) -> None:
    """Loads it once in this process and drops it. Raises ModelError for what cannot be loaded or is another network."""
    session = open_session(network.file, setting=network.setting, code=network.code, extra=network.extra)
    dimensions = tuple(len(one.shape) for one in session.get_inputs())
    missing = [key for key in network.metadata if key not in session.get_modelmeta().custom_metadata_map]
    if dimensions != network.dimensions or missing:
        got = f"none called {missing[0]}" if missing else f"inputs of {dimensions}"
        needed = "metadata" if missing else f"inputs of {network.dimensions} dimensions"
        raise ModelError(
            f"{network.setting}: '{network.file.path}' must be the network for it, with {needed}, has {got}; fetch it "
            "again",
            code=network.code,
        )
