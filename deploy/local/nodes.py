"""The parts of a local cluster: Ray nodes with token authentication, and SeaweedFS as the S3 server.

Knows the options of `ray start` and `weed mini`, and the state kept in the cluster's folder.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from processes import HOST, START_S, free_ports, program, start, wait_open

OBJECT_STORE_BYTES = 200_000_000
WEED_SERVICES = ("s3", "filer", "master", "volume", "admin")
RAY_PORTS = (
    "metrics-export-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
)

State = dict[str, Any]


def new_state(folder: Path, *, workers: int, cpus: int, bucket: str) -> State:
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
        "weed": {name: [next(ports), next(ports)] for name in WEED_SERVICES},
        "access_key": old.get("access_key", secrets.token_hex(8)),
        "secret_key": old.get("secret_key", secrets.token_hex(16)),
    }
    for name, text in (("auth_token", secrets.token_hex(32)), ("state.json", json.dumps(state, indent=2))):
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return state


def read_state(folder: Path) -> State | None:
    """What `new_state` wrote last, or None."""
    path = folder / "state.json"
    return dict(json.loads(path.read_text())) if path.exists() else None


def environment(folder: Path, state: State) -> dict[str, str]:
    """What a client needs to reach the cluster and its S3 server."""
    return {
        "RAY_ADDRESS": f"{HOST}:{state['gcs']}",
        "RAY_API_SERVER_ADDRESS": f"http://{HOST}:{state['dashboard']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "auth_token"),
        # Ray's processes report metrics every ten seconds, which a job tried out may not live to see.
        "RAY_metrics_report_interval_ms": "1000",
        "AWS_ENDPOINT_URL": f"http://{HOST}:{state['weed']['s3'][0]}",
        "AWS_ACCESS_KEY_ID": state["access_key"],
        "AWS_SECRET_ACCESS_KEY": state["secret_key"],
        "AWS_REGION": "us-east-1",
    }


def start_ray(folder: Path, state: State) -> None:
    """Head first, then the workers side by side. Raises RuntimeError when a node does not come up."""
    variables = environment(folder, state)
    del variables["RAY_ADDRESS"]  # a head that finds it would look for another cluster
    # Nothing waits here for the work in hand: a node on one's own machine may go at once.
    variables |= {"RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", "AWS_EC2_METADATA_DISABLED": "true"}
    started = []
    for node, ports in enumerate(state["nodes"]):
        options = {
            "node-ip-address": HOST,
            "num-cpus": state["cpus"],
            "object-store-memory": OBJECT_STORE_BYTES,
            # Nodes of one machine would meet in Ray's fixed range of ports; 0 lets the system choose.
            "min-worker-port": 0,
            "max-worker-port": 0,
            **ports,
            **(_head(folder, state) if node == 0 else {"address": f"{HOST}:{state['gcs']}"}),
        }
        command = [
            program("ray"),
            "start",
            "--block",
            "--disable-usage-stats",
            *(["--head"] if node == 0 else []),
        ]
        command += [f"--{name}={value}" for name, value in options.items()]
        started.append(start(folder, f"ray-{node}", command, variables))
        if node == 0:
            wait_open(folder, "ray-0", started[0], state["gcs"])
            wait_open(folder, "ray-0", started[0], state["dashboard"])
    for node, process in enumerate(
        started
    ):  # the agent that opens this port is a node's last part to come up
        wait_open(folder, f"ray-{node}", process, state["nodes"][node]["metrics-export-port"])


def start_s3(folder: Path, state: State) -> None:
    """The S3 server on the folder's objects, with the bucket in it. Raises RuntimeError."""
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
    command = [program("weed"), f"-logdir={folder}", "mini"]
    command += [f"-{name}={value}" for name, value in flags.items()]
    variables = environment(folder, state)
    wait_open(folder, "s3", start(folder, "s3", command, variables), state["weed"]["s3"][0])
    _make_bucket(folder, state)


def _head(folder: Path, state: State) -> State:
    return {
        "port": state["gcs"],
        "temp-dir": folder / "ray",
        "include-dashboard": "true",
        "dashboard-host": HOST,
        "dashboard-port": state["dashboard"],
        "ray-client-server-port": state["client"],
    }


def _make_bucket(folder: Path, state: State) -> None:
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=environment(folder, state)["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=state["access_key"],
        aws_secret_access_key=state["secret_key"],
        config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
    )
    deadline = time.monotonic() + START_S
    while True:
        try:
            if state["bucket"] not in [found["Name"] for found in client.list_buckets()["Buckets"]]:
                client.create_bucket(Bucket=state["bucket"])
            return
        except (BotoCoreError, ClientError) as error:  # the port opens before the server can answer
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"the S3 server does not answer: {error}; see '{folder}/s3.log'"
                ) from error
            time.sleep(0.2)
