"""At a run's end: a signed webhook, delivered once for each end, and the object `_SUCCESS`.

    end -> deliveries.json: pending -> POST, retried -> delivered           the next run: what is still pending is sent

The record is written before the first try, with the delivery's id: a driver that dies in between leaves a delivery that
the next run sends again under the same id, by which a receiver knows it. What was delivered is never sent again.

Signature and headers are those of Standard Webhooks: webhook-id, webhook-timestamp, webhook-signature. Knows the output
folder and HTTP's client; knows nothing of Ray.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from dreamcache.core import ids
from dreamcache.core.config.job import JobSpec
from dreamcache.core.config.on_finish import OnFinish
from dreamcache.core.errors import DreamCacheError, SpecError, StorageError
from dreamcache.core.web_url import parse_web
from dreamcache.storage.bounded import IsFolder, NotRegular, TooLarge
from dreamcache.storage.json_object import JsonObject, parse_object
from dreamcache.storage.open_store import open_store
from dreamcache.storage.status import Status, now
from dreamcache.storage.web.exchange import ExchangeError
from dreamcache.storage.web.post import post

DELIVERIES = "deliveries.json"
SUCCESS = "_SUCCESS"
KEPT = 20
"""Deliveries in the record: the newest."""
MAX_BYTES = 1 << 20
INTERRUPTED_S = 10.0
"""For the delivery of a run that was asked to stop, answer included: whoever asked kills it soon."""
BASE64_SECRET = "whsec_"


class Finish:
    """What one job does at the ends of its runs. Does nothing without `on_finish`.

    note: called with what the user should know; a receiver that is down is no error of the run.
    """

    def __init__(self, spec: JobSpec, note: Callable[[str], None] = lambda text: None) -> None:
        self.spec, self.settings, self._note = spec, spec.on_finish, note
        self._files = open_store(spec.output)

    def check(self) -> None:
        """Before anything runs. Raises SpecError: `no_secret` where a variable is missing, or a bad address."""
        if self.settings is not None and self.settings.has_webhook:
            _secret_of(self.settings)
            _address_of(self.settings)

    def begin(self) -> Callable[[Status], None]:
        """A run begins: `_SUCCESS` of an earlier one goes, and what could not be delivered is sent. Returns `end`."""
        if self.settings is not None:
            self._files.delete(SUCCESS)
            for delivery in self._pending():
                self._deliver(delivery, self.settings)
                if delivery["state"] == "pending":
                    break  # a receiver that is down keeps the run waiting once, not for each of them
        return self.end

    def end(self, status: Status) -> None:
        """The run has ended as its status states. Never raises for a receiver; StorageError for the output."""
        if self.settings is None:
            return
        event = event_of(self.spec, status)
        if self.settings.success and _is_success(event, self.settings):
            self._files.write(SUCCESS, _json(event))
        if not self.settings.has_webhook:
            return
        seal = self._seal(event)
        delivery = {"id": event["id"], "state": "pending", "tries": 0, "event": event, "seal": seal}
        if any(one.get("id") == event["id"] for one in self._record()):
            return
        self._keep(delivery)
        self._deliver(delivery, self.settings, INTERRUPTED_S if event["exit_code"] == 130 else math.inf)

    def _deliver(self, delivery: JsonObject, settings: OnFinish, most_s: float = math.inf) -> None:
        body, ident = _json(delivery["event"]), str(delivery["id"])
        try:
            url, host = _address_of(settings)
            headers = signed_headers(_secret_of(settings), ident, body)

            def on_try(number: int) -> None:
                delivery["tries"] = int(delivery.get("tries", 0)) + 1

            status = post(url, host, body, headers, settings.retry_s, most_s=most_s, on_try=on_try)
            delivery |= {"state": "delivered", "status": status, "delivered_at": now()}
        except (ExchangeError, DreamCacheError) as error:
            delivery["error"] = str(error)[:300]
            self._note(f"on_finish.webhook: {error}; the next run of this job sends it again")
        self._keep(delivery)

    def _record(self) -> list[JsonObject]:
        try:
            entries = parse_object(self._files.read(DELIVERIES, MAX_BYTES)).get("deliveries")
        except (FileNotFoundError, ValueError, TooLarge, NotRegular, IsFolder):
            return []
        return [one for one in entries if _is_delivery(one)] if isinstance(entries, list) else []

    def _pending(self) -> list[JsonObject]:
        """What a run of this job wrote: whoever can write to the output may have put others in, and they would be
        signed."""
        pending = [one for one in self._record() if one["state"] == "pending"]
        own = [one for one in pending if self._is_own(one)]
        if len(own) < len(pending):
            self._note(
                f"{DELIVERIES}: {len(pending) - len(own)} deliveries are not sent: no run with this secret wrote them"
            )
        return own

    def _is_own(self, delivery: JsonObject) -> bool:
        event, seal = delivery["event"], self._seal(delivery["event"])
        is_named = event.get("output") == self.spec.output.rstrip("/") and event.get("id") == delivery["id"]
        return (
            is_named
            and bool(seal)
            and hmac.compare_digest(seal.encode(), str(delivery.get("seal")).encode("utf-8", "replace"))
        )

    def _seal(self, event: JsonObject) -> str:
        """Of an event that waits in the output, by the webhook's secret; "" without one."""
        assert self.settings is not None
        try:
            secret = _secret_of(self.settings)
        except DreamCacheError:
            return ""
        return hmac.new(secret, b"waiting." + _json(event), hashlib.sha256).hexdigest()

    def _keep(self, delivery: JsonObject) -> None:
        """A record that cannot be written delays no delivery: the receiver knows its id."""
        try:
            others = [one for one in self._record() if one["id"] != delivery["id"]]
            self._files.write(DELIVERIES, _json({"deliveries": [*others, delivery][-KEPT:]}))
        except StorageError as error:
            self._note(f"{DELIVERIES} cannot be written, so a delivery may be sent twice: {error}")


def event_of(spec: JobSpec, status: Status) -> JsonObject:
    """What a receiver is sent: one JSON object. id: the same for every delivery of this end."""
    assert status.driver is not None
    counts = {name: status.counts.get(name, 0) for name in ("done", "blocked", "failed")}
    output = spec.output.rstrip("/")
    spent = {name: round(float(value), 6) for name, value in (status.details.get("spent") or {}).items()}
    return {
        "id": ids.of_values("delivery", output=output, run=status.driver.run_id)[:32],
        "type": f"run.{status.state}",
        "job": spec.name,
        "output": output,
        "run_id": status.driver.run_id,
        "state": status.state,
        "exit_code": _exit_code(status),
        "reason": status.exit_reason,
        "total": status.total,
        **counts,
        "spent": spent,
        "currency": spec.price.currency if spec.price else None,
        "manifest": f"{output}/manifest.parquet",
        "ended_at": status.updated_at,
    }


def signed_headers(secret: bytes, ident: str, body: bytes, moment: float | None = None) -> dict[str, str]:
    """Headers of Standard Webhooks: HMAC-SHA256 over id, time and body."""
    stamp = str(int(time.time() if moment is None else moment))
    digest = hmac.new(secret, f"{ident}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "dreamcache",
        "Idempotency-Key": ident,
        "webhook-id": ident,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _secret_of(settings: OnFinish) -> bytes:
    text = _variable(settings.secret_env, "secret_env")
    if not text.startswith(BASE64_SECRET):
        return text.encode()
    try:
        return base64.b64decode(text.removeprefix(BASE64_SECRET), validate=True)
    except ValueError as error:
        raise SpecError(
            f"on_finish.secret_env: what follows {BASE64_SECRET} in variable {settings.secret_env} must be base64, is "
            "not; correct it",
            code="no_secret",
        ) from error


def _address_of(settings: OnFinish) -> tuple[Any, Any]:
    """(address, its host's entry). The address may be a secret: no message names it."""
    text = settings.webhook
    if text is None:
        assert settings.webhook_env is not None
        text = _variable(settings.webhook_env, "webhook_env")
    try:
        return parse_web(text), settings.host_for(text)
    except ValueError as error:
        raise SpecError(f"on_finish: {error}; correct the address, or name its host") from error


def _variable(name: str, setting: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise SpecError(
            f"on_finish.{setting}: environment variable {name} must be set where the driver runs, is not; set it "
            f"there ('dreamcache submit --env {name}' passes it on)",
            code="no_secret",
        )
    return value


def _exit_code(status: Status) -> int:
    """That of `dreamcache run` for such an end."""
    if status.state == "failed":
        return 1
    if status.state == "stopped":
        return 4 if (status.exit_reason or "").startswith("limits.") else 130
    return 0 if status.done == status.total else 3


def _is_success(event: Mapping[str, Any], settings: OnFinish) -> bool:
    return event["exit_code"] == 0 or (event["exit_code"] == 3 and settings.ok_with_failures)


def _is_delivery(entry: Any) -> bool:
    """The record lies in the output folder, where anyone with access may have changed it."""
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("id"), str)
        and entry["id"].isalnum()
        and len(entry["id"]) <= 64
        and isinstance(entry.get("event"), dict)
        and entry.get("state") in ("pending", "delivered")
        and isinstance(entry.get("tries", 0), int)
    )


def _json(value: JsonObject) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=True, sort_keys=True) + "\n").encode()
