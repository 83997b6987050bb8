"""The Ray cluster a command works on: one at an address, the one this process is in, or one started here.

Knows Ray's addresses and errors; knows nothing of jobs or training.
"""

from __future__ import annotations

import math
import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dreamcache.core.errors import CODE_NOTE, DreamCacheError
from jobs import own_packages
from jobs.cluster.ray_console import keep_off_stdout
from jobs.cluster.reach import check_gcs_answers

_OURS = re.compile(rf"\bdreamcache\.[\w.]+: (.+)\n\W*{CODE_NOTE}([a-z0-9_]+)")
"""The last lines of a traceback of ours."""
VERBOSE = "DREAMCACHE_VERBOSE"
"""Set, Ray prints its own lines and those of workers."""
_prefers_own_packages = False
"""Whether the Ray that this process has started gives its workers our packages first."""


def join_cluster(address: str | None, *, cpus: float, gpus: float) -> None:
    """Connects this process. cpus, gpus: what the work declares in all, for a cluster that is started here.

    Raises DreamCacheError `bad_address`, `no_cluster` within 15 s where nothing answers at the address, or
    `no_resources` when this machine has too few GPUs.
    """
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        _check_address(address)
    # No usage report leaves the cluster unless the user asks for it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # A token that is set is meant to be shown; Ray reads the mode once, when it is imported.
    if address and (os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")):
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    if ray.is_initialized():
        _check_own_packages()
        return
    if address and address != "local" and (known := known_address(address)):
        check_gcs_answers(known)
    # "local", since without it Ray would join any cluster that someone has started on this machine; and here,
    # unlike on a cluster, the work must find room however few cores there are.
    here = {"address": "local", "num_cpus": max(os.cpu_count() or 1, math.ceil(cpus))}
    options: dict[str, Any] = {"address": address} if address else here
    is_verbose = os.environ.get(VERBOSE, "") not in ("", "0")
    keep_off_stdout(is_shown=is_verbose)
    printed = {"log_to_driver": is_verbose, "logging_level": "INFO" if is_verbose else "ERROR"}
    _init({**printed, "include_dashboard": False, **options})
    available = ray.cluster_resources().get("GPU", 0)
    if not address and gpus > available:
        raise DreamCacheError(
            f"workers: ask for {gpus:g} GPUs, this machine has {available:g}; lower the workers' count or gpus, or "
            f"give the --address of a cluster",
            code="no_resources",
        )


def _check_address(address: str) -> None:
    """Raises DreamCacheError `bad_address` for an address of another service of a cluster."""
    if address.startswith(("http://", "https://")):
        raise DreamCacheError(
            f"address '{address}': is a dashboard's, where jobs are submitted ('dreamcache submit'); to join "
            f"the cluster from here give the address of the head's GCS (host:6379)",
            code="bad_address",
        )
    if address.startswith("ray://"):
        raise DreamCacheError(
            f"address '{address}': Ray Data and Ray Train do not run through Ray Client; give the address of the "
            f"head's GCS (host:6379), or run the command on the cluster as a Ray job",
            code="bad_address",
        )


def known_address(address: str) -> str | None:
    """host:port; of "auto" that of the cluster that was started on this machine last, None where there is none."""
    if address != "auto":
        return address
    from ray._private.utils import read_ray_address

    written: str | None = read_ray_address()
    return written


def _init(options: dict[str, Any]) -> None:
    """ray.init, once more if it fails: on a busy machine a node may miss Ray's fixed 30 seconds to start.

    A cluster that is there is tried once: Ray itself tries for 20 s, also where the token is wrong.
    """
    import ray

    global _prefers_own_packages
    ours = signal.getsignal(signal.SIGTERM)
    # Only where it is needed: Ray then starts every worker anew instead of taking one that waits.
    _prefers_own_packages = own_packages.in_the_way() is not None
    is_new = options["address"] == "local"
    hint = "" if is_new else "; where it asks for a token, it must be in RAY_AUTH_TOKEN"
    for remaining_tries in (1, 0) if is_new else (0,):
        try:
            with _own_packages_first(_prefers_own_packages) as more:
                ray.init(**options, **more)
            if callable(ours) and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, ours)  # Ray has put its own in its place
            return
        except Exception as error:
            ray.shutdown()
            if not remaining_tries:
                raise DreamCacheError(
                    f"Ray at '{options['address']}' cannot be started or reached: "
                    f"{' '.join(str(error).split())[:300]}{hint}; the same command resumes from here",
                    code="no_cluster",
                ) from error


@contextmanager
def _own_packages_first(needed: bool) -> Iterator[dict[str, Any]]:
    """Options of ray.init with which workers import our packages, whatever the current folder holds."""
    if not needed:
        yield {}
        return
    from ray import cloudpickle

    # By value: to import the hook by its name is just what may go wrong on the worker.
    cloudpickle.register_pickle_by_value(own_packages)
    try:
        yield {"runtime_env": {"worker_process_setup_hook": own_packages.setup_hook()}}
    finally:
        cloudpickle.unregister_pickle_by_value(own_packages)


def _check_own_packages() -> None:
    """For a Ray that was started without us. Raises DreamCacheError `module_in_the_way`."""
    file = own_packages.in_the_way()
    if file is not None and not _prefers_own_packages:
        raise DreamCacheError(
            f"{file}: is in the way of a package of dreamcache, which Ray's workers would import from there, and Ray "
            "was started before dreamcache; rename it, start in another folder, or leave ray.init to dreamcache",
            code="module_in_the_way",
        )


def worker_error(error: Exception, remains: str) -> DreamCacheError | None:
    """The error to the user that a worker raised, which Ray hands over inside tracebacks; None for other errors.

    remains: what the user should know of the rest, added to its message.
    """
    matches: list[tuple[str, str]] = _OURS.findall(str(error))
    if not matches:
        return None
    message, code = matches[-1]
    return DreamCacheError(f"{message}; {remains}", code=code)
