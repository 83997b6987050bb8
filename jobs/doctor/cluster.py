"""The checks of a cluster and its nodes, from the report of `node_probe`. Knows no Ray itself."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import dreamcache
from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import CODE_NOTE, DreamCacheError
from dreamcache.inference.facts import describe_models, family_of_job
from jobs import own_packages
from jobs.cluster.capacity import Node, misfits
from jobs.doctor.check import Trial, Verdict, fail, ok, skip, warn
from jobs.doctor.memory import memory

JOIN_LIMIT_S = 240.0
REFUSED = "InvalidAuthToken"
TOKEN = "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
LOOPBACK = ("127.", "localhost", "[::1]", "auto", "local")
UNKNOWN = "the cluster reported nothing"


class Reporter:
    """Starts a probe in the background when it is constructed; `close` ends it."""

    def __init__(self, spec: JobSpec, address: str | None, *, only_capacity: bool = False) -> None:
        """only_capacity: the nodes' resources alone, which costs no look at each node."""
        self.address = address
        model = {
            "method": spec.method,
            "base": spec.model.base,
            "revision": spec.model.revision,
            "adapter": spec.model.adapter,
            "loras": [asdict(lora) for lora in spec.model.loras],
            "allow_other_base": spec.model.allow_other_base,
            "quantize": spec.model.quantize,
        }
        request = {
            "address": address,
            "output": spec.output,
            "has_gpu": spec.workers.generators.gpus > 0,
            "only_capacity": only_capacity,
            **model,
        }
        self._files: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(3)]
        self._files[0].write(json.dumps(request).encode())
        self._files[0].seek(0)
        self._started = time.monotonic()
        stdin, stdout, stderr = self._files
        command = own_packages.command_of("jobs.doctor.node_probe")
        self._process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
        self._report: dict[str, Any] | None = None

    def ask(self) -> dict[str, Any]:
        """The report. Raises DreamCacheError `bad_token` or `no_cluster`; at once for a refused token."""
        while self._report is None and self._process.poll() is None:
            if REFUSED in self._text(2):
                self._process.kill()
                raise DreamCacheError(
                    f"address '{self.address}': the cluster refuses the token; {TOKEN}", code="bad_token"
                )
            if time.monotonic() - self._started > JOIN_LIMIT_S:
                self._process.kill()
                raise DreamCacheError(
                    f"address '{self.address}': no answer; check the address", code="no_cluster"
                )
            time.sleep(0.05)
        if self._report is None:
            lines = self._text(1).strip().splitlines()
            if self._process.returncode != 0 or not lines:
                raise self._error()
            self._report = json.loads(lines[-1])
        return dict(self._report or {})

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for file in self._files:
            file.close()

    def _error(self) -> DreamCacheError:
        printed = self._text(2).strip().splitlines()
        lines = [line for line in printed if not line.startswith(CODE_NOTE)] or ["the probe printed nothing"]
        if REFUSED in self._text(2) or " 401" in lines[-1]:
            return DreamCacheError(
                f"address '{self.address}': the cluster refuses the token; {TOKEN}", code="bad_token"
            )
        return DreamCacheError(f"{lines[-1].partition('Error: ')[2] or lines[-1]}", code="no_cluster")

    def _text(self, number: int) -> str:
        # Not through the file object: it shares its position with the process that writes.
        return Path(f"/proc/self/fd/{self._files[number].fileno()}").read_bytes().decode(errors="replace")


def trials(spec: JobSpec, reporter: Reporter) -> Iterator[Trial]:
    """The cluster, then what its nodes have; without an address, this machine."""
    yield Trial(name="cluster: reachable", attempt=lambda: _reachable(reporter), limit_s=JOIN_LIMIT_S + 10)
    yield Trial(name="cluster: room for the workers", attempt=lambda: _room(spec, reporter))
    yield Trial(name="versions: equal everywhere", attempt=lambda: _versions(reporter))
    yield Trial(name="nodes: same model files", attempt=lambda: _model(spec, reporter), limit_s=300)
    yield Trial(name="nodes: see the output", attempt=lambda: _mark(reporter))
    yield Trial(name="memory: one micro-batch", attempt=lambda: memory(spec, _nodes(reporter)))


def _nodes(reporter: Reporter) -> list[dict[str, Any]]:
    """Nodes that answered; none where the cluster does not answer, which has its own check."""
    try:
        return [node for node in reporter.ask()["nodes"] if "error" not in node]
    except DreamCacheError:
        return []


def _reachable(reporter: Reporter) -> Verdict:
    if reporter.address is None:
        reporter.ask()
        return skip("no --address: a run starts Ray on this machine")
    report = reporter.ask()
    silent = [f"{node['host']}: {node['error']}" for node in report["nodes"] if "error" in node]
    if silent:
        return fail(
            f"{len(silent)} of {len(report['nodes'])} nodes do not answer: {silent[0]}",
            "see the node's Ray logs",
        )
    who = f"{len(report['nodes'])} nodes answer" if "jobs" not in report else "the Jobs API answers"
    host = reporter.address.partition("://")[2] or reporter.address
    if report["token"]:
        return ok(f"{who}, with a token")
    if host.startswith(LOOPBACK):
        return ok(f"{who}, without a token, on this machine")
    return warn(
        f"{who}, without a token: whoever reaches the port can run code there", f"on every node: {TOKEN}"
    )


def _room(spec: JobSpec, reporter: Reporter) -> Verdict:
    """Each worker on a node, then all of them: in numbers, since a run would only wait."""
    try:
        report = reporter.ask()
    except DreamCacheError:
        report = {}
    if "capacity" not in report:
        return skip("no cluster's resources are known")
    nodes = [Node(**node) for node in report["capacity"]]
    missing = misfits(spec.workers, nodes, encodes=family_of_job(spec).caches_features)
    if missing:
        return warn(
            "; ".join(missing),
            "add such nodes, unless the cluster scales up by itself, or lower what workers ask for",
        )
    totals = {kind: sum(node.resources.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU")}
    declared = {"CPU": spec.workers.cpus, "GPU": spec.workers.gpus}
    return ok(
        ", ".join(f"{declared[kind]:g} {kind} declared, {totals[kind]:g} available" for kind in declared)
    )


def _versions(reporter: Reporter) -> Verdict:
    ours = {name: version(name) for name in ("ray", "torch", "diffusers")}
    ours = {"python": ".".join(map(str, sys.version_info[:3])), **ours, "dreamcache": dreamcache.__version__}
    nodes = _nodes(reporter)
    if not nodes:
        return skip(UNKNOWN)
    other = [
        f"{node['host']} has {name} {node['versions'][name]}, here is {ours[name]}"
        for node in nodes
        for name in ours
        if node["versions"][name] != ours[name] and (name != "dreamcache" or node["versions"][name])
    ]
    if other:
        return fail("; ".join(other[:5]), "use one image or environment on all machines")
    without = [node["host"] for node in nodes if not node["versions"]["dreamcache"]]
    if without:
        return warn(
            f"{len(without)} nodes have no dreamcache",
            "install it there, or use 'dreamcache submit', which ships it",
        )
    return ok(f"{len(nodes)} machines: " + ", ".join(f"{name} {number}" for name, number in ours.items()))


def _model(spec: JobSpec, reporter: Reporter) -> Verdict:
    nodes = [node for node in _nodes(reporter) if node["versions"]["dreamcache"]]
    if not nodes:
        return skip(UNKNOWN)
    ours = list(describe_models(spec.method, spec.model).fingerprints)
    other = [
        f"{node['host']}: {node.get('model_error') or 'other files'}"
        for node in nodes
        if node.get("model") != ours
    ]
    if other:
        return fail(
            f"{len(other)} of {len(nodes)} machines find another model: {other[0]}",
            "give all machines the same files, or name a hub id with a revision and an adapter in s3://",
        )
    return ok(f"{len(nodes)} machines find base {ours[0][:12]} and adapter {ours[1][:12]}")


def _mark(reporter: Reporter) -> Verdict:
    nodes = [node for node in _nodes(reporter) if "mark" in node]
    if not nodes:
        return skip(
            "nothing to compare: one machine, or the output cannot be written"
            if _nodes(reporter)
            else UNKNOWN
        )
    blind = [f"{node['host']}: {node.get('mark_error', '')}" for node in nodes if not node["mark"]]
    if blind:
        return fail(
            f"{len(blind)} of {len(nodes)} nodes do not see what this machine writes to the output: {blind[0]}",
            "use s3:// or a folder that all machines share, and give every node credentials",
        )
    return ok(f"{len(nodes)} nodes read what this machine wrote to the output")
