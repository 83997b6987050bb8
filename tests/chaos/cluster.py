"""A Ray cluster of several nodes on this machine, each node's processes its own, so that one node can be lost.

    with Cluster(env) as cluster:            # a head without work, and worker nodes
        cluster.workers("GenerateWorker")    # process ids of actors
        cluster.lose_node(rng); cluster.add_node()
        cluster.lose_head(); cluster.start() # another cluster

Only processes that carry a node's mark are ever ended.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from tests.end_to_end.processes import marked
from tests.ray_node import Node, kill_all
from tests.s3_server import free_ports

START_SECONDS = 120.0
NODES = 2
NODE_CPUS = 2
QUICK = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    # Ray's workers would give way to everything else on a busy machine.
    "RAY_worker_niceness": "0",
    # A lost node is reported within seconds; one that is only slow has as long as ever to answer.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


def has_started(node: Node) -> bool:
    """Waits for it; False when it has ended, or is not up in time."""
    deadline = time.monotonic() + START_SECONDS
    while "Ray runtime started" not in node.log.read_text():
        if time.monotonic() > deadline or node.process.poll() is not None:
            return False
        time.sleep(0.1)
    return True


class Cluster:
    """env: all variables of its processes. The driver's node is the head, where no worker runs."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = {**env, **QUICK}
        self.folder = Path(tempfile.mkdtemp(prefix="dc-"))  # short: Ray's sockets lie below
        self.head: Node | None = None
        self.nodes: list[Node] = []
        self.lost: list[Node] = []
        self.address = ""

    def start(self) -> Self:
        """A head and worker nodes, all new."""
        (port,) = free_ports(1)
        self.address = f"127.0.0.1:{port}"
        options = {"port": port, "num-cpus": 0, "include-dashboard": "false"}
        options |= {"temp-dir": Path(tempfile.mkdtemp(dir=self.folder, prefix="r"))}
        self.head = Node(self.folder, self.env, options, is_head=True)
        if not has_started(self.head):
            raise RuntimeError(f"Ray's head did not start; it said:\n{self.head.log.read_text()[-3000:]}")
        self.restore()
        return self

    def add_node(self) -> None:
        """A new worker node; Ray uses it once it has come up."""
        options = {"address": self.address, "num-cpus": NODE_CPUS}
        self.nodes.append(Node(self.folder, self.env, options, is_head=False))

    def restore(self) -> None:
        """As many nodes as ever, after a test that failed or lost one, or a start on a machine that was too busy."""
        if self.head is None or self.head.process.poll() is not None:
            self.close_nodes()
            self.start()
            return
        for _ in range(3):
            self.lost += [node for node in self.nodes if node.process.poll() is not None]
            self.nodes = [node for node in self.nodes if node not in self.lost]
            while len(self.nodes) < NODES:
                self.add_node()
            if all([has_started(node) for node in self.nodes]):
                return
        raise RuntimeError(
            f"Ray's nodes did not start; the last said:\n{self.nodes[-1].log.read_text()[-3000:]}"
        )

    def workers(self, name: str) -> list[int]:
        """Process ids of the actors of this class that are up, in order."""
        return sorted(pid for node in self.nodes for pid, said in marked(node.mark).items() if name in said)

    def kill_worker(self, name: str, rng: Random) -> None:
        """SIGKILL for one actor of this class, as soon as there is one."""
        deadline = time.monotonic() + START_SECONDS
        while not (found := self.workers(name)):
            assert time.monotonic() < deadline, f"no {name} within {START_SECONDS} s"
            time.sleep(0.05)
        kill_all([rng.choice(found)])

    def lose_node(self, name: str, rng: Random) -> None:
        """SIGKILL for the raylet of one node that has an actor of this class."""
        having = [node for node in self.nodes if any(name in said for said in marked(node.mark).values())]
        node = rng.choice(having or self.nodes)
        node.kill_raylet()
        self.nodes.remove(node)
        self.lost.append(node)

    def lose_head(self) -> None:
        """The head's machine goes; its worker nodes, of no use to another cluster, are ended."""
        assert self.head is not None
        self.close_nodes()

    def close_nodes(self) -> None:
        """SIGKILL for all that was ever started."""
        for node in [*self.nodes, *self.lost, *([self.head] if self.head else [])]:
            node.kill()
        self.head, self.nodes, self.lost = None, [], []

    def close(self) -> None:
        self.close_nodes()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
