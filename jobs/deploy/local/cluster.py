"""A Ray cluster and an S3 server on this machine, to try jobs on and to test with.

Everything lies in one folder and listens on loopback, on ports that were free; Ray's agents listen on the machine's own
address too, behind the token. Other Rays are left alone. Knows nothing of jobs.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from jobs.deploy.local.nodes import State, environment, new_state, read_state, start_ray, start_s3, weed
from jobs.deploy.local.processes import HOST, LocalClusterError, is_open, running, stop

LONGEST_FOLDER = 36
"""Ray puts sockets below it, whose paths may have 107 characters."""

DEFAULT_FOLDER = f"/tmp/dreamcache-local-{os.getuid()}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalCluster:
    """variables: those that a client needs. open: of each part, whether it listens. metrics: URLs for Prometheus."""

    folder: str
    processes: int
    open: dict[str, bool]
    metrics: list[str]
    dashboard: str
    bucket: str | None
    variables: dict[str, str]


def up(folder: Path, *, workers: int, cpus: int, bucket: str, s3: bool, timeout_s: float) -> LocalCluster:
    """Starts S3 server, head and workers; a part that does not come up in `timeout_s` takes the others down again."""
    if len(str(folder)) > LONGEST_FOLDER:
        raise LocalClusterError(
            f"--folder: at most {LONGEST_FOLDER} characters, since Ray's sockets lie below it, got '{folder}' with "
            f"{len(str(folder))}; choose a shorter one"
        )
    if running(folder):
        raise LocalClusterError(
            f"a cluster runs in '{folder}' already; 'dreamcache cluster down' stops it, --folder names another place"
        )
    if s3:
        weed()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(folder)
    shutil.rmtree(folder / "ray", ignore_errors=True)
    for log in folder.glob("*.log"):
        log.unlink(missing_ok=True)
    state = new_state(folder, workers=workers, cpus=cpus, bucket=bucket, s3=s3)
    try:
        if s3:
            start_s3(folder, state, timeout_s=timeout_s)
        start_ray(folder, state, timeout_s=timeout_s)
    except BaseException:
        stop(folder)
        raise
    return look(folder)


def look(folder: Path) -> LocalCluster:
    """What runs. Raises LocalClusterError where no cluster was started in the folder."""
    state = _state(folder)
    ports = [node["metrics-export-port"] for node in state["nodes"]]
    parts = {f"ray-{number}": port for number, port in enumerate(ports)}
    if state["weed"] is not None:
        parts = {"s3": state["weed"]["s3"][0], **parts}
    return LocalCluster(
        folder=str(folder),
        processes=len(running(folder)),
        open={name: is_open(port) for name, port in parts.items()},
        metrics=[f"http://{HOST}:{port}/metrics" for port in ports],
        dashboard=f"http://{HOST}:{state['dashboard']}",
        bucket=f"s3://{state['bucket']}" if state["weed"] is not None else None,
        variables=environment(folder, state),
    )


def down(folder: Path, *, delete: bool) -> int:
    """Stops it, returns how many processes there were; objects stay for the next `up` unless `delete`."""
    count = stop(folder)
    if delete and (folder / "state.json").exists():  # never a folder that is none of ours
        shutil.rmtree(folder)
    return count


def _check_owner(folder: Path) -> None:
    """The token lies in it, and /tmp is everybody's."""
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise LocalClusterError(
            f"--folder: must be yours alone (mode 700), got '{folder}' with mode {status.st_mode & 0o777:o}; choose "
            "another folder"
        )


def _state(folder: Path) -> State:
    state = read_state(folder)
    if state is None:
        raise LocalClusterError(f"no cluster was started in '{folder}'; 'dreamcache cluster up' starts one")
    return state
