"""What a job does when a run of it has ended: settings of the webhook and of the object `_SUCCESS`.

    on_finish: {webhook: https://hooks.example/dreamcache, hosts: [{host: hooks.example}]}

Secrets are never in a settings file: it names the environment variables that hold them. Knows texts; sends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from dreamcache.core.config.fields import Positive
from dreamcache.core.config.hosts import CatalogHost, host_of
from dreamcache.core.config.rules import RuleText, Settings, require
from dreamcache.core.web_url import parse_web

EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
    RuleText("the name of an environment variable"),
]
MAX_RETRY_S = 3600


@dataclass(frozen=True, kw_only=True, slots=True)
class OnFinish(Settings):
    """At each end of a run. webhook: an https:// address that is sent a signed POST. webhook_env: the variable that
    holds it, for addresses that are secrets themselves. hosts: which the address may lie on, and nowhere else; entries
    as in catalog_hosts. secret_env: the variable that holds the signing secret, on the driver's machine. retry_s: for
    how long a receiver that does not answer is tried; the next run tries again. success: whether `_SUCCESS` is written
    when all items are done, and deleted when another run begins. ok_with_failures: also when some items failed.
    """

    webhook: str | None = None
    webhook_env: EnvName | None = None
    hosts: tuple[CatalogHost, ...] = ()
    secret_env: EnvName = "DREAMCACHE_WEBHOOK_SECRET"
    retry_s: Positive = 60.0
    success: bool = True
    ok_with_failures: bool = False

    def check(self) -> None:
        both = self.webhook is not None and self.webhook_env is not None
        require(not both, "webhook, webhook_env", "one of the two", "both")
        require(self.retry_s <= MAX_RETRY_S, "retry_s", f"at most {MAX_RETRY_S}", self.retry_s)
        require(not self.has_webhook or bool(self.hosts), "hosts", "a list with the webhook's host", ())
        if self.webhook is not None:
            self.host_for(self.webhook)

    @property
    def has_webhook(self) -> bool:
        """Whether one is to be called."""
        return self.webhook is not None or self.webhook_env is not None

    def host_for(self, webhook: str) -> CatalogHost:
        """The entry of the address' host. Raises ValueError for an address that no entry allows."""
        try:
            site = parse_web(webhook).site
        except ValueError as error:
            raise ValueError(f"webhook {error}") from error
        host = host_of(site, self.hosts)
        if host is None:
            raise ValueError(f"webhook must lie on a host of 'hosts', lies on {site}")
        return host
