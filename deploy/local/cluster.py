#!/usr/bin/env python3
"""A small cluster on one machine for trying it all: a Ray head, Ray workers with token authentication, an S3 server.

    python deploy/local/cluster.py up --workers 2      # starts it, then prints the lines to put into a shell
    eval "$(python deploy/local/cluster.py env)"       # Ray's address and token, the S3 endpoint and its keys
    python deploy/local/cluster.py status
    python deploy/local/cluster.py down                # stops what `up` started, and nothing else

Everything lies in one folder and listens on loopback, on ports that were free; Ray's agents listen on the machine's own
address too, behind the token. Other Rays are left alone. Knows nothing of dreamcache.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from nodes import State, environment, new_state, read_state, start_ray, start_s3
from processes import HOST, is_open, running, stop

LONGEST_FOLDER = 36  # Ray puts sockets below it, whose paths may have 107 characters
DEFAULT_FOLDER = Path(tempfile.gettempdir()) / f"dreamcache-local-{os.getuid()}"


def main() -> int:
    """0 done; 1 it did not start, or is not running."""
    args = _arguments()
    args.folder = args.folder.resolve()
    try:
        return {"up": up, "env": show_env, "status": status, "down": down}[args.verb](args)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def up(args: argparse.Namespace) -> int:
    """Starts S3 server, head and workers; a part that fails takes the others down again."""
    folder: Path = args.folder
    if len(str(folder)) > LONGEST_FOLDER:
        raise RuntimeError(
            f"--folder: at most {LONGEST_FOLDER} characters, since Ray's sockets lie below it, got '{folder}' with "
            f"{len(str(folder))}; choose a shorter one"
        )
    if running(folder):
        raise RuntimeError(f"a cluster runs in '{folder}' already; 'down' stops it, --folder makes another")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(folder / "ray", ignore_errors=True)
    state = new_state(folder, workers=args.workers, cpus=args.cpus, bucket=args.bucket)
    try:
        start_s3(folder, state)
        start_ray(folder, state)
    except BaseException:
        stop(folder)
        raise
    return show_env(args)


def show_env(args: argparse.Namespace) -> int:
    """Prints the lines that a shell needs."""
    state = _state(args.folder)
    for name, value in environment(args.folder, state).items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"# a bucket to use: s3://{state['bucket']}; Ray's dashboard: http://{HOST}:{state['dashboard']}")
    return 0


def status(args: argparse.Namespace) -> int:
    """Prints what runs, as JSON."""
    state = _state(args.folder)
    metrics = [node["metrics-export-port"] for node in state["nodes"]]
    parts = {"s3": state["weed"]["s3"][0], **{f"ray-{node}": port for node, port in enumerate(metrics)}}
    is_up = {name: is_open(port) for name, port in parts.items()}
    answer = {
        "folder": str(args.folder),
        "processes": len(running(args.folder)),
        "open": is_up,
        "metrics": [f"http://{HOST}:{port}/metrics" for port in metrics],
    }
    print(json.dumps(answer, indent=2))
    return 0 if all(is_up.values()) else 1


def down(args: argparse.Namespace) -> int:
    """Stops it; objects stay for the next `up` unless --delete says otherwise."""
    print(f"stopped {stop(args.folder)} processes")
    if args.delete and (args.folder / "state.json").exists():  # never a folder that is none of ours
        shutil.rmtree(args.folder)
    return 0


def _state(folder: Path) -> State:
    state = read_state(folder)
    if state is None:
        raise RuntimeError(f"no cluster was started in '{folder}'; 'up' starts one")
    return state


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    made = {
        "up": verbs.add_parser("up", help="start head, workers and S3 server"),
        "env": verbs.add_parser("env", help="print the lines for a shell"),
        "status": verbs.add_parser("status", help="what runs, as JSON"),
        "down": verbs.add_parser("down", help="stop what 'up' started"),
    }
    for verb in made.values():
        verb.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help="default: %(default)s")
    up = made["up"]
    up.add_argument("--workers", type=int, default=2, help="Ray nodes beside the head (default: %(default)s)")
    up.add_argument("--cpus", type=int, default=2, help="CPUs declared per node (default: %(default)s)")
    up.add_argument("--bucket", default="dreamcache", help="made if missing (default: %(default)s)")
    made["down"].add_argument("--delete", action="store_true", help="delete the folder, objects included")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
