"""A job as KubeRay runs it: a RayJob with a cluster of its own, sized from the job's pools, and what it needs.

    JobSpec + Options --render--> ConfigMap (job.yaml, run.sh), NetworkPolicy, RayJob

Knows the templates' form and Kueue's labels; asks no API server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml

from dreamcache.core.config.job import JobSpec
from dreamcache.core.errors import SpecError
from dreamcache.core.locations import settings_of
from dreamcache.core.web_url import parse_web
from jobs.deploy.manifest import Document, dump, filled, template
from jobs.deploy.pools import PodGroup, groups_of
from jobs.spec import dump_spec

QUEUE = "kueue.x-k8s.io/queue-name"
PRIORITY = "kueue.x-k8s.io/priority-class"
NAME_CHARACTERS = 47
"""KubeRay appends to a RayJob's name, and a label of Kubernetes has 63."""

DISK_GIB = 90
MAX_CONFIG_BYTES = 900_000
RESOURCE = re.compile(r"[A-Za-z0-9._:-]{1,63}")
LABEL = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
KEPT_CODES = "dreamcache run /etc/dreamcache/job.yaml\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """queue, priority: of Kueue, which then decides when the job starts; its clusters do not scale by themselves.

    strict: the RayJob fails with exit codes 3 and 4 as the command does, and no failure starts a new cluster.
    values: of placeholders.
    """

    namespace: str = "dreamcache"
    queue: str | None = None
    priority: str | None = None
    strict: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


def render(spec: JobSpec, options: Options) -> dict[str, str]:
    """{file name: text}: access.yaml, once for the namespace, and job.yaml.

    Raises SpecError for what cannot run there.
    """
    check_locations(spec)
    for key, value in (
        ("--namespace", options.namespace),
        ("--queue", options.queue),
        ("--priority", options.priority),
    ):
        if value is not None and not LABEL.fullmatch(value):
            raise SpecError(
                f"{key} {value}: must be 1-63 of a-z, 0-9, '.' and '-', with a letter or digit at its ends"
            )
    if options.priority and not options.queue:
        raise SpecError("--priority: needs --queue, Kueue's queue that the priority is for")
    access = [
        filled(_in(document, options.namespace), options.values)
        for document in template("kuberay/access.yaml")
    ]
    job = [filled(_in(document, options.namespace), options.values) for document in _job(spec, options)]
    note = "By 'dreamcache deploy render kuberay'. "
    return {
        "access.yaml": dump(
            access, note + "Once for the namespace; the token is a Secret, dreamcache-ray-token."
        ),
        "job.yaml": dump(job, note + f"Job '{spec.name}'; render again after a change of the job file."),
    }


def check_locations(spec: JobSpec) -> None:
    """Raises SpecError `local_paths` for locations of this machine, which no pod sees."""
    local = [setting for setting in settings_of(spec) if setting.is_local]
    if local:
        named = ", ".join(f"{setting.key} '{setting.value}'" for setting in local)
        raise SpecError(
            f"{named}: must be locations that every machine sees, these are on this one; put them into s3://",
            code="local_paths",
        )


def _job(spec: JobSpec, options: Options) -> list[Document]:
    config, job = template("kuberay/job.yaml")
    text = dump_spec(spec)
    if len(text.encode()) > MAX_CONFIG_BYTES:
        raise SpecError(
            f"the job file: must have at most {MAX_CONFIG_BYTES:,} bytes, which a ConfigMap holds, got "
            f"{len(text.encode()):,}; put prompts into the catalog's column 'prompts', and submit to a standing cluster"
        )
    digest = hashlib.sha256(text.encode()).hexdigest()
    slug = (
        re.sub(r"[^a-z0-9]+", "-", spec.name.lower()).strip("-")[: NAME_CHARACTERS - 20].strip("-") or "job"
    )
    name = f"dreamcache-{slug}-{digest[:8]}"
    annotations = {"dreamcache/job-sha256": digest, "dreamcache/job": spec.name}
    labels = {"app.kubernetes.io/name": "dreamcache", "app.kubernetes.io/instance": name}

    config["metadata"] |= {"name": name, "labels": labels, "annotations": annotations}
    config["immutable"] = True
    config["data"]["job.yaml"] = text
    if options.strict:
        config["data"]["run.sh"] = KEPT_CODES
        job["spec"]["backoffLimit"] = 0
        job["spec"]["submitterConfig"]["backoffLimit"] = 0
    job["metadata"] |= {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    cluster = job["spec"]["rayClusterSpec"]
    (volume,) = [
        one for one in cluster["headGroupSpec"]["template"]["spec"]["volumes"] if one["name"] == "job"
    ]
    volume["configMap"] = {"name": name}
    groups = groups_of(spec.workers)
    prototypes = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    cluster["workerGroupSpecs"] = [_group(prototypes[group.name], group, options) for group in groups]
    if options.queue:
        _queue(job, cluster, options)
    return [config, *_policy(spec, name, labels), job]


def _group(prototype: Document, group: PodGroup, options: Options) -> Document:
    made = deepcopy(prototype)
    made |= {"replicas": 0, "minReplicas": 0, "maxReplicas": group.most}
    made["labels"] = {**made["labels"], **group.labels}
    if group.resources:
        for name in group.resources:
            if not RESOURCE.fullmatch(name):
                raise SpecError(
                    f"workers: resources '{name}': must be letters, digits, '.', '_', ':' and '-'; rename it"
                )
        listed = ", ".join(f'\\"{name}\\": {amount:g}' for name, amount in sorted(group.resources.items()))
        made["rayStartParams"] = {"resources": f'"{{{listed}}}"'}
    (container,) = made["template"]["spec"]["containers"]
    amounts = {
        "cpu": str(group.cpus),
        "memory": f"{group.memory_gib}Gi",
        "ephemeral-storage": f"{DISK_GIB}Gi",
    }
    if group.gpus:
        amounts["nvidia.com/gpu"] = str(group.gpus)
    container["resources"] = {"requests": amounts, "limits": dict(amounts)}
    if group.accelerator:
        # As NVIDIA's feature discovery names products, whose exact names only the cluster knows.
        made["template"]["metadata"].setdefault("annotations", {})["dreamcache/accelerator-type"] = (
            group.accelerator
        )
    if options.queue:
        made |= {"replicas": group.pods, "minReplicas": group.pods, "maxReplicas": group.pods}
    return made


def _queue(job: Document, cluster: Document, options: Options) -> None:
    """Kueue admits a job as a whole: it starts suspended, and its cluster has a fixed size that a quota can hold."""
    job["metadata"]["labels"][QUEUE] = options.queue
    if options.priority:
        job["metadata"]["labels"][PRIORITY] = options.priority
    job["spec"]["suspend"] = True
    cluster["enableInTreeAutoscaling"] = False
    del cluster["autoscalerOptions"]


def _policy(spec: JobSpec, name: str, labels: Mapping[str, str]) -> list[Document]:
    """Lets the pods reach web hosts in private networks, which access.yaml closes; public ones on 443 are open."""
    rules: list[dict[str, Any]] = []
    for host in spec.catalog_hosts:
        port = parse_web(f"https://{host.site}/").port
        blocks: list[Document] = [{"ipBlock": {"cidr": network}} for network in map(str, host.private)]
        if not blocks and port != 443:
            blocks = [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16",
                                                                    "100.64.0.0/10", "169.254.0.0/16"]}}]  # fmt: skip
        if blocks:
            rules.append({"to": blocks, "ports": [{"port": port, "protocol": "TCP"}]})
    if not rules:
        return []
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "dreamcache", "labels": dict(labels)},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": rules},
        }
    ]


def _in(document: Document, namespace: str) -> Document:
    """The document in another namespace than the templates'; service accounts' names stay."""
    metadata = document["metadata"]
    if document["kind"] == "Namespace":
        metadata["name"] = namespace
    else:
        metadata["namespace"] = namespace
    return document


def loaded(text: str) -> list[Document]:
    """The documents of a rendered file."""
    return list(yaml.safe_load_all(text))
