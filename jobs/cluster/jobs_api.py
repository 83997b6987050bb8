"""The way to a cluster's Ray Jobs API: its address, the token, and Ray's errors as ours.

    --address | RAY_API_SERVER_ADDRESS | RAY_ADDRESS | this machine's cluster -> URL -> token -> client

Knows Ray's addresses and authentication; knows nothing of jobs. Never imports torch, nor Ray at import.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dreamcache.core.errors import DreamCacheError, SpecError
from jobs.cluster.capacity import Node, nodes_of
from jobs.cluster.quiet_client import quiet_client
from jobs.cluster.reach import REACH_SECONDS, is_loopback, within

DASHBOARD_PORT = 8265
LOCAL = f"http://127.0.0.1:{DASHBOARD_PORT}"
NODES_SECONDS = 5.0
AUTHORIZATION = "Authorization"
PLAIN_HTTP = "DREAMCACHE_PLAIN_HTTP"
"""Names the hosts, separated by commas, to which a token may go over plain http."""

_ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")


class ClusterError(DreamCacheError):
    """A cluster cannot be used: `no_cluster`, `no_token`, `bad_token`, or its answer makes no sense."""

    code = "cluster"


@dataclass(frozen=True, kw_only=True, slots=True)
class JobsApi:
    """A reached cluster. client: Ray's JobSubmissionClient; headers authorize requests; is_open: anyone may submit."""

    url: str
    client: Any
    headers: dict[str, str]
    is_open: bool

    @property
    def is_loopback(self) -> bool:
        return is_loopback(urlsplit(self.url).hostname or "")

    def nodes_here(self) -> bool:
        """Whether every machine of the cluster is this one, so that it sees this machine's files.

        A loopback address says nothing of it: it may be the near end of a tunnel to a cluster far away.
        """
        deadline = time.monotonic() + NODES_SECONDS
        while True:
            alive = [state.node_ip for state in self._node_states()]
            if alive or time.monotonic() > deadline:
                return bool(alive) and all(_is_ours(address) for address in alive)
            time.sleep(0.2)  # a head that has just started knows of no node yet

    def nodes(self) -> list[Node]:
        """The living nodes with their resources."""
        return nodes_of(self._node_states())

    def _node_states(self) -> list[Any]:
        """Ray's `NodeState` of each living node."""
        from ray.util.state.api import StateApiClient
        from ray.util.state.common import ListApiOptions, NodeState, StateResource

        with reported(self.url), _no_addresses():
            states = StateApiClient(self.url, headers=dict(self.headers)).list(
                StateResource.NODES, options=ListApiOptions(), raise_on_missing_output=False
            )
        return [state for state in states if isinstance(state, NodeState) and state.state == "ALIVE"]


def connect(address: str | None = None) -> JobsApi:
    """Reaches the Jobs API at `address`, the URL of a head's dashboard.

    Without one: RAY_API_SERVER_ADDRESS, RAY_ADDRESS, then this machine's cluster. The token is sent to a server that
    asks for one, and over plain http to this machine alone, or to hosts that DREAMCACHE_PLAIN_HTTP names. Raises
    SpecError `bad_address`, or ClusterError `no_cluster` (nobody answers within 15 s), `no_token`, `bad_token` or
    `plain_http`.
    """
    from ray.job_submission import JobSubmissionClient

    quiet_client()
    url = resolve(address)
    own = own_headers()
    is_open, asks_token = _probe_access(url, _without_secrets(own))
    if asks_token:
        headers = auth_headers()
        if not headers:
            raise ClusterError(_no_token(url), code="no_token")
        _refuse_plain_http(url)
    else:
        # The empty header keeps Ray's client from adding a token that the server has not asked for.
        headers = {**_without_secrets(own), AUTHORIZATION: ""}
    with reported(url), _no_addresses():
        client = JobSubmissionClient(url, headers=dict(headers))
    return JobsApi(url=url, client=client, headers=headers, is_open=is_open)


def resolve(address: str | None) -> str:
    """The URL that `address`, or Ray's variables, mean. Raises SpecError `bad_address`."""
    if address is not None and address not in ("auto", "local"):
        if not address.startswith(("http://", "https://")):
            host = address.split("://")[-1].split(":")[0] or "HEAD"
            raise SpecError(
                f"address '{address}': must be the URL of the cluster's dashboard, where jobs are submitted, such as "
                f"http://{host}:{DASHBOARD_PORT}",
                code="bad_address",
            )
        return address.rstrip("/")
    if address is None:
        for name in _ADDRESS_VARIABLES:
            value = os.environ.get(name, "")
            if value.startswith(("http://", "https://")):
                return value.rstrip("/")
            if value and value not in (
                "auto",
                "local",
            ):  # a head's GCS, host:port; its dashboard is beside it
                return f"http://{value.split('://')[-1].rsplit(':', 1)[0]}:{DASHBOARD_PORT}"
    return LOCAL


def auth_headers() -> dict[str, str]:
    """Headers that authorize a request: RAY_JOB_HEADERS (JSON), and Ray's token where it is not switched off.

    Ray's own client sends a token only when RAY_AUTH_MODE=token; here one that is set up is enough. Raises
    ClusterError `no_token` when the mode asks for a token and there is none, where Ray would abort.
    """
    headers = own_headers()
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    if mode == "disabled" or any(name.lower() == "authorization" for name in headers):
        return headers
    token = _token()
    if token:
        headers[AUTHORIZATION] = f"Bearer {token}"
    elif mode == "token" and not headers:
        raise ClusterError(_no_token("RAY_AUTH_MODE=token"), code="no_token")
    return headers


def own_headers() -> dict[str, str]:
    """RAY_JOB_HEADERS, for a proxy in front of the cluster. Raises SpecError for what is no JSON object of texts."""
    value = os.environ.get("RAY_JOB_HEADERS")
    try:
        headers = dict(json.loads(value)) if value else {}
    except (ValueError, TypeError, RecursionError) as error:
        raise SpecError(f"RAY_JOB_HEADERS: must be a JSON object of headers: {error}") from error
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise SpecError("RAY_JOB_HEADERS: must be a JSON object of headers: names and values are texts")
    return headers


def _without_secrets(headers: Mapping[str, str]) -> dict[str, str]:
    """Those that may go to a server before it has asked for a token."""
    return {name: value for name, value in headers.items() if "authorization" not in name.lower()}


def _refuse_plain_http(url: str) -> None:
    """Raises ClusterError `plain_http` before a token would travel unencrypted to another machine."""
    host = urlsplit(url).hostname or ""
    allowed = [name.strip() for name in os.environ.get(PLAIN_HTTP, "").split(",")]
    if url.startswith("http://") and not is_loopback(host) and host not in allowed:
        raise ClusterError(
            f"{url}: the cluster asks for a token, which must not travel over plain http to another machine; use "
            f"https, open a tunnel and give http://127.0.0.1:{DASHBOARD_PORT}, or set {PLAIN_HTTP}={host} where the "
            f"network is closed",
            code="plain_http",
        )


def _token() -> str | None:
    """Ray's order: RAY_AUTH_TOKEN, the file at RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    token_path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(token_path).expanduser() if token_path else Path("~/.ray/auth_token").expanduser()
    try:
        return path.read_text("utf-8").strip() or None
    except OSError as error:
        if token_path:
            raise ClusterError(
                f"RAY_AUTH_TOKEN_PATH '{token_path}': must be a readable file with the cluster's token: "
                f"{error.strerror}",
                code="no_token",
            ) from error
        return None


def _no_token(where: str) -> str:
    return (
        f"{where}: the cluster asks for a token and none is set; set RAY_AUTH_TOKEN, or put the cluster's token "
        f"(on its head: 'ray get-auth-token') into ~/.ray/auth_token"
    )


def _probe_access(url: str, headers: Mapping[str, str]) -> tuple[bool, bool]:
    """(whether the Jobs API answers without a token, whether it asks for one).

    Raises ClusterError `no_cluster` where nothing answers within REACH_SECONDS, `cluster` for another answer.
    """
    import requests  # Ray's own client speaks through it too

    def ask() -> int:
        with requests.get(
            f"{url}/api/version",
            headers=dict(headers),
            timeout=REACH_SECONDS,
            allow_redirects=False,
            stream=True,
            auth=_NoNetrc(),
        ) as response:
            return response.status_code

    try:
        status = within(REACH_SECONDS, ask, TimeoutError(f"no answer within {REACH_SECONDS:g} s"))
    except (requests.exceptions.RequestException, OSError, UnicodeError, ValueError) as error:
        raise ClusterError(_nobody(url, error), code="no_cluster") from error
    if status not in (200, 401, 403):
        raise ClusterError(
            f"{url}: must be the address of a cluster's dashboard, answers with HTTP status {status}; check address "
            f"and port"
        )
    return status == 200, status in (401, 403)


class _NoNetrc:
    """requests would send what ~/.netrc holds for the host, asked or not."""

    def __call__(self, request: Any) -> Any:
        return request


@contextmanager
def reported(url: str) -> Iterator[None]:
    """Errors of Ray's client as ours, in one line."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        if "required" in str(error).split(":")[0]:
            raise ClusterError(_no_token(url), code="no_token") from error
        raise ClusterError(
            f"{url}: the cluster refuses this token; it must be the one that its head was started with "
            f"('ray get-auth-token' there), in RAY_AUTH_TOKEN or ~/.ray/auth_token",
            code="bad_token",
        ) from error
    except (ConnectionError, requests.exceptions.RequestException) as error:
        raise ClusterError(_nobody(url, error), code="no_cluster") from error
    except (RuntimeError, ValueError) as error:
        raise ClusterError(f"{url}: {' '.join(str(error).split())[:400]}", code="cluster") from error


def _nobody(url: str, error: Exception) -> str:
    return (
        f"{url}: no Ray cluster answers there ({type(error).__name__}); start one with 'ray start --head', open a "
        f"tunnel to it, or give its --address, http://HEAD:{DASHBOARD_PORT}"
    )


@contextmanager
def _no_addresses() -> Iterator[None]:
    """Ray's variables override an address that is passed; within the block they do not exist."""
    removed = {name: os.environ.pop(name) for name in _ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)


def _is_ours(address: str) -> bool:
    """Whether this machine has the IP address: only then can a socket be bound to it."""
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
