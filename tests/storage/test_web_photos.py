"""https:// photos on a real TLS server: what is read, and a table of what is refused, each with its code."""

from __future__ import annotations

import ipaddress
import resource
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dreamcache.core.config import ImageLimits
from dreamcache.core.config.hosts import CatalogHost
from dreamcache.core.errors import ImageError
from dreamcache.core.web_url import parse_web
from dreamcache.storage.photo_faults import STORAGE_WIDE
from dreamcache.storage.photos import read_photo
from dreamcache.storage.web.addresses import Address
from dreamcache.storage.web.client import WebPhotos
from tests.tls_server import TlsServer, gzip_bomb

LOOPBACK = ("127.0.0.0/8",)
LIMIT = 100_000
PHOTO = b"a photo"


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    gzip_bomb()
    with TlsServer({"/a.png": PHOTO, "/a%20b%C3%A9.png": PHOTO, "/full.png": b"x" * LIMIT}) as one:
        yield one


def client(
    server: TlsServer,
    *answers: str,
    networks: tuple[str, ...] = LOOPBACK,
    ca: bool = True,
    timeout_s: float = 5,
) -> WebPhotos:
    """Reads from shop.example and cdn.example. answers: of the name service, one look-up after the other, addresses
    separated by commas; the last one stays. None: 127.0.0.1."""
    left = list(answers or ("127.0.0.1",))

    def resolve(host: str, port: int, seconds: float) -> list[Address]:
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            answer = left.pop(0) if len(left) > 1 else left[0]
        if not answer:
            raise OSError("Name or service not known")
        return [ipaddress.ip_address(one) for one in answer.split(",")]

    hosts = [
        CatalogHost(
            host=f"{name}:{server.port}", networks=networks, ca=server.ca if ca else None, timeout_s=timeout_s
        )
        for name in ("shop.example", "cdn.example", "127.0.0.1")
    ]
    return WebPhotos([*hosts, *(CatalogHost(host=name) for name in BY_ADDRESS)], resolve)


BY_ADDRESS = (
    "169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "10.0.0.5",
    "172.16.3.4", "192.168.1.1", "100.64.0.1", "198.18.0.1", "127.0.0.1", "224.0.0.1", "255.255.255.255",
    "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::a9fe:a9fe]", "[::1]", "[::]",
    "[::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::a00:1]", "[2002:a9fe:a9fe::1]", "[2002:7f00:1::]",
    "[2001:0:a9fe:a9fe::1]", "[fc00::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::5efe:10.0.0.1]",
)  # fmt: skip
"""Named by the job file as hosts, without networks: they are still not asked."""

FORMS = {
    "http": "http://shop.example/a.png",
    "another scheme": "ftp://shop.example/a.png",
    "user": "https://me@shop.example/a.png",
    "user and password": "https://shop.example:443@169.254.169.254/a.png",
    "backslash": "https://169.254.169.254\\@shop.example/a.png",
    "decimal IPv4": "https://2852039166/latest",
    "octal IPv4": "https://0251.0376.0251.0376/latest",
    "hex IPv4": "https://0xa9fea9fe/latest",
    "dotted hex IPv4": "https://0xa9.0xfe.0xa9.0xfe/latest",
    "short IPv4": "https://127.1/a.png",
    "IPv4 in wide digits": "https://１２７.０.０.１:80:1/a.png",
    "IPv4 with leading zeros": "https://127.000.000.001/a.png",
    "percent-encoded host": "https://%31%36%39.254.169.254/a.png",
    "zone": "https://[fe80::1%25eth0]/a.png",
    "unclosed bracket": "https://[::1/a.png",
    "no host": "https:///a.png",
    "port 0": "https://shop.example:0/a.png",
    "port out of range": "https://shop.example:99999/a.png",
    "line break": "https://shop.example/a.png\r\nX: y",
    "tab in the host": "https://shop\t.example/a.png",
    "too long": "https://shop.example/" + "a" * 5000,
    "half a surrogate": "https://shop.example/\ud800.png",
}
"""Refused by their form, before any look-up."""

OTHER_HOSTS = (
    "https://other.example/a.png", "https://shop.example.evil.example/a.png", "https://xshop.example/a.png",
    "https://localhost/a.png", "https://metadata.google.internal/computeMetadata/v1/", "https://shop.example/a.png",
    "https://shop.example:444/a.png", "https://[::ffff:7f00:1]/a.png", "https://ѕhop.example/a.png",
)  # fmt: skip

ANSWERS = {
    "private": ("10.0.0.5", "address_not_allowed"),
    "metadata": ("169.254.169.254", "address_not_allowed"),
    "mapped metadata": ("::ffff:169.254.169.254", "address_not_allowed"),
    "IPv6 metadata": ("fd00:ec2::254", "address_not_allowed"),
    "NAT64 of loopback": ("64:ff9b::a00:5", "address_not_allowed"),
    "one good, one bad": ("127.0.0.1,169.254.169.254", "address_not_allowed"),
    "one bad, one good": ("10.0.0.5,127.0.0.1", "address_not_allowed"),
    "no such name": ("", "host_unreachable"),
}

TO = "/to?u="
REDIRECTS = {
    "to metadata": (f"{TO}https://169.254.169.254/latest", "address_not_allowed"),
    "to a private address": (f"{TO}https://10.0.0.5/a.png", "address_not_allowed"),
    "to mapped metadata": (f"{TO}https://[::ffff:169.254.169.254]/", "address_not_allowed"),
    "to another host": (f"{TO}https://evil.example/a.png", "host_not_allowed"),
    "to another port": (f"{TO}https://shop.example:22/a.png", "host_not_allowed"),
    "to another host by //": (f"{TO}//evil.example/a.png", "host_not_allowed"),
    "to a number": (f"{TO}https://2852039166/latest", "bad_redirect"),
    "to http": (f"{TO}http://shop.example/a.png", "bad_redirect"),
    "to a file": (f"{TO}file:///etc/passwd", "bad_redirect"),
    "to s3": (f"{TO}s3://shop/secret", "bad_redirect"),
    "with a user": (f"{TO}https://a@shop.example/a.png", "bad_redirect"),
    "in a circle": ("/odd/loop", "bad_redirect"),
    "nowhere": ("/odd/no-location", "bad_redirect"),
}

BODIES = {
    "endless": "too_large", "endless-close": "too_large", "huge": "too_large", "negative": "too_large",
    "trickle": "too_slow", "trickle-headers": "too_slow", "continue": "too_slow", "silent": "too_slow",
    "gzip-bomb": "bad_response", "garbage": "bad_response", "many-headers": "bad_response",
    "long-header": "bad_response", "cut": "bad_response", "endless-chunk-line": "bad_response",
}  # fmt: skip

STATUSES = {404: "missing_image", 410: "missing_image", 401: "access_denied", 403: "access_denied", 400: "bad_response",
            204: "bad_response", 206: "bad_response", 304: "bad_response", 500: "host_unreachable",
            503: "host_unreachable", 429: "host_unreachable"}  # fmt: skip


def code_of(photos: WebPhotos, uri: str) -> str:
    with pytest.raises(ImageError) as caught:
        photos.fetch(uri, "subject 'mug': image", LIMIT)
    assert str(caught.value).startswith("subject 'mug': image: ") and "\n" not in str(caught.value)
    assert caught.value.code not in STORAGE_WIDE, "one bad photo would count towards the end of a run"
    return caught.value.code


def test_what_is_read(server: TlsServer) -> None:
    photos = client(server)
    for path in (
        "/a.png",
        "/a bé.png",
        "/a.png#top",
        f"{TO}/a.png",
        f"{TO}{server.url('/a.png', 'cdn.example')}",
    ):
        assert photos.fetch(server.url(path, "Shop.Example."), "x", LIMIT).data == PHOTO
    assert photos.fetch(server.url("/full.png", "shop.example"), "x", LIMIT).data == b"x" * LIMIT
    assert photos.fetch(server.url("/odd/lying", "shop.example"), "x", LIMIT).data == b"x" * 10


def test_an_etag_spares_the_body(server: TlsServer) -> None:
    photos, url = client(server), server.url("/a.png", "shop.example")
    first = photos.fetch(url, "x", LIMIT)
    assert first.etag is not None
    again = photos.fetch(url, "x", LIMIT, etag=first.etag)
    assert (again.data, again.etag) == (None, first.etag)
    assert photos.fetch(url, "x", LIMIT, etag='"older"').data == PHOTO


def test_nothing_is_read_without_the_job_files_leave(server: TlsServer) -> None:
    server.asked.clear()
    with pytest.raises(ImageError, match=r"catalog_hosts: \[\{host: '127.0.0.1:") as caught:
        read_photo(server.url("/a.png"), "subject 'mug'", ImageLimits())
    assert caught.value.code == "host_not_allowed"
    host = CatalogHost(host=f"127.0.0.1:{server.port}", ca=server.ca)
    with pytest.raises(ImageError, match="private and outside the networks") as caught:
        read_photo(server.url("/a.png"), "subject 'mug'", ImageLimits(), [host])
    assert caught.value.code == "address_not_allowed"
    assert not server.asked
    allowed = replace(host, networks=LOOPBACK)
    assert read_photo(server.url("/a.png"), "subject 'mug'", ImageLimits(), [allowed]) == PHOTO


@pytest.mark.parametrize("uri", FORMS.values(), ids=FORMS)
def test_form(server: TlsServer, uri: str) -> None:
    server.asked.clear()
    assert code_of(client(server), uri) == "bad_image_uri"
    assert not server.asked


@pytest.mark.parametrize("uri", OTHER_HOSTS)
def test_host(server: TlsServer, uri: str) -> None:
    assert code_of(client(server), uri) == "host_not_allowed"


@pytest.mark.parametrize("host", BY_ADDRESS)
def test_address(server: TlsServer, host: str) -> None:
    assert code_of(client(server, networks=()), f"https://{host}/a.png") == "address_not_allowed"


@pytest.mark.parametrize("networks", [("0.0.0.0/0", "::/0"), ("169.254.0.0/16", "fd00::/8", "64:ff9b::/96")])
@pytest.mark.parametrize(
    "answer", ["169.254.169.254", "::ffff:a9fe:a9fe", "fd00:ec2::254", "64:ff9b::a9fe:a9fe"]
)
def test_no_network_lets_metadata_in(server: TlsServer, answer: str, networks: tuple[str, ...]) -> None:
    photos = client(server, answer, networks=networks)
    assert code_of(photos, server.url("/a.png", "shop.example")) == "address_not_allowed"


@pytest.mark.parametrize(("answer", "code"), ANSWERS.values(), ids=ANSWERS)
def test_name_service(server: TlsServer, answer: str, code: str) -> None:
    server.asked.clear()
    assert code_of(client(server, answer, timeout_s=0.3), server.url("/a.png", "shop.example")) == code
    assert not server.asked


def test_a_name_that_changes_between_look_ups(server: TlsServer) -> None:
    """Each connection goes to the address that was checked for it, and a redirect's is checked anew."""
    photos = client(server, "127.0.0.1", "169.254.169.254")
    assert photos.fetch(server.url("/a.png", "shop.example"), "x", LIMIT).data == PHOTO
    photos = client(server, "127.0.0.1", "169.254.169.254")
    assert code_of(photos, server.url(f"{TO}/a.png", "shop.example")) == "address_not_allowed"
    photos = client(server, "127.0.0.1", "10.0.0.5")
    assert code_of(photos, server.url("/status?n=503", "shop.example")) == "address_not_allowed"


@pytest.mark.parametrize(("path", "code"), REDIRECTS.values(), ids=REDIRECTS)
def test_redirect(server: TlsServer, path: str, code: str) -> None:
    assert code_of(client(server), server.url(path, "shop.example")) == code


@pytest.mark.parametrize(("kind", "code"), BODIES.items())
def test_body(server: TlsServer, kind: str, code: str) -> None:
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert code_of(client(server, timeout_s=0.8), server.url(f"/odd/{kind}", "shop.example")) == code
    assert time.monotonic() - started < 5, "a deadline is for the whole photo"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000, (
        "KiB; a bomb is not unpacked"
    )


@pytest.mark.parametrize(("status", "code"), STATUSES.items())
def test_status(server: TlsServer, status: int, code: str) -> None:
    assert code_of(client(server, timeout_s=0.8), server.url(f"/status?n={status}", "shop.example")) == code


def test_certificate(server: TlsServer) -> None:
    url = server.url("/a.png", "shop.example")
    assert code_of(client(server, ca=False), url) == "bad_certificate"  # an authority that nobody trusts
    with TlsServer({"/a.png": PHOTO}, names=("other.example",)) as other:
        assert code_of(client(other), other.url("/a.png", "shop.example")) == "bad_certificate"
    with TlsServer({"/a.png": PHOTO}, days=-1) as expired:
        assert code_of(client(expired), expired.url("/a.png", "shop.example")) == "bad_certificate"
    with TlsServer({"/a.png": PHOTO}, plain=True) as plain:
        assert code_of(client(plain), plain.url("/a.png", "shop.example")) == "bad_certificate"
    bad = WebPhotos([CatalogHost(host=parse_web(url).site, networks=LOOPBACK, ca="/nonexistent.pem")],
                    client(server)._resolve)  # fmt: skip
    assert code_of(bad, url) == "bad_certificate"


def test_a_host_that_is_down_is_left_alone_for_a_while(server: TlsServer) -> None:
    photos = client(server, timeout_s=0.3)
    photos._down.limit, photos._down.rest_s = 3, 0.5
    down, up = server.url("/status?n=500", "shop.example"), server.url("/a.png", "cdn.example")
    for _ in range(3):
        code_of(photos, down)
    server.asked.clear()
    started = time.monotonic()
    for _ in range(50):
        assert code_of(photos, down) == "host_unreachable"
    assert time.monotonic() - started < 0.4
    assert not server.asked
    assert photos.fetch(up, "x", LIMIT).data == PHOTO, "another host is another matter"
    time.sleep(0.5)
    assert photos.fetch(server.url("/a.png", "shop.example"), "x", LIMIT).data == PHOTO
    assert photos.fetch(server.url("/a.png", "shop.example"), "x", LIMIT).data == PHOTO


def test_passing_errors_are_tried_again(server: TlsServer) -> None:
    server.asked.clear()
    code_of(client(server), server.url("/status?n=503", "shop.example"))
    assert server.asked["/status"] == 3
    assert threading.active_count() < 60
