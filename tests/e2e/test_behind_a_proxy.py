"""Publishing and downloading through nginx and Caddy with TLS, with the blocks of docs/how-to/behind-a-proxy.md."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
import urllib3

from tests.e2e.conftest import Sdk, starter
from tests.e2e.process import DESCRIBED, Key, Phimage, Server, wait_until
from tests.publishing.shop import MIB, disk
from tests.unit.sources.tls import Authority
from tests.uploading import connects, port_of, reserved_port

PAGE = Path(__file__).parents[2] / "docs/how-to/behind-a-proxy.md"
NAME = "localhost"
START_SECONDS = 60
DISK_MIB = 17
"""The first part of the upload is 16 MiB that no compression makes smaller: the largest body that a client sends."""


def documented(language: str, changes: dict[str, str]) -> str:
    """A block of the page with the names, files and ports of this test; each of them must be there."""
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    text = found[1]
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def nginx(folder: Path, port: int, upstream: str, certificate: Path) -> list[str]:
    block = documented(
        "nginx",
        {
            "127.0.0.1:8080": upstream,
            "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
            "images.example.com;": f"{NAME};",
            "/etc/ssl/images.example.com.pem": str(certificate),
            "/etc/ssl/private/images.example.com.key": str(certificate),
        },
    )
    return nginx_command(folder, block)


def nginx_command(folder: Path, block: str) -> list[str]:
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    outer = f"user root;\npid {folder}/pid;\ndaemon off;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{block}\n}}\n"
    config = folder / "nginx.conf"
    config.write_text(outer)
    return ["nginx", "-c", str(config), "-e", str(folder / "errors")]


def caddy(folder: Path, port: int, upstream: str, certificate: Path) -> list[str]:
    site = f"https://{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {certificate} {certificate}"
    block = documented("caddy", {"127.0.0.1:8080": upstream, "images.example.com {": site})
    config = folder / "Caddyfile"
    config.write_text(f"{{\n    admin off\n    auto_https disable_redirects\n    skip_install_trust\n}}\n{block}")
    return ["caddy", "run", "--config", str(config), "--adapter", "caddyfile"]


PROXIES: dict[str, Callable[[Path, int, str, Path], list[str]]] = {"nginx": nginx, "caddy": caddy}


PROXY_SETTINGS = {
    "bare": "",
    "documented": "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $remote_addr;",
    "appending": "proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
    "real-ip": "proxy_http_version 1.1; proxy_set_header X-Real-IP $remote_addr;",
    "forwarded": 'proxy_http_version 1.1; proxy_set_header Forwarded "for=$remote_addr";',
    "via": 'proxy_http_version 1.1; proxy_set_header Via "1.1 nginx";',
    "scheme": "proxy_http_version 1.1; proxy_set_header X-Forwarded-Proto $scheme;",
}
"""What administrators write beside `proxy_pass`."""


class Site(NamedTuple):
    """A server, and the address at which a proxy with TLS stands before it."""

    url: str
    key: Key
    phimage: Phimage
    authority: Authority

    def pool(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(ssl_context=self.authority.client(), retries=False)


class Upstream(NamedTuple):
    server: Server
    home: Phimage
    key: Key


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    variables = {"PUBLISHERS": "1", "TRUSTED_PROXIES": "127.0.0.1", "ALLOW_LEGACY_OPERATOR_SIGNATURES": "true"}
    home = Phimage(tmp_path_factory.mktemp("home"), **{f"PHIMAGE_{name}": value for name, value in variables.items()})
    with Server(home, "serve", "--port", "0") as server:
        assert server.new_key is not None
        home.using(server.url, server.new_key).well("catalog", "apply", "-", text=starter())
        yield Upstream(server, home, server.new_key)


@pytest.fixture(scope="module")
def trusting_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(Phimage(tmp_path_factory.mktemp("trusting-none")), "serve", "--port", "0") as server:
        yield server


@pytest.fixture(params=["nginx", pytest.param("caddy", marks=pytest.mark.more)])
def site(request: pytest.FixtureRequest, upstream: Upstream, tmp_path: Path) -> Iterator[Site]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed; on Debian: apt-get install {request.param}")
    authority = Authority()
    certificate, trusted = tmp_path / "server.pem", tmp_path / "authority.pem"
    certificate.write_bytes(authority.key_and_certificate(NAME))
    trusted.write_bytes(authority.pem())
    with reserved_port() as reserved:
        port = port_of(reserved)
        command = PROXIES[request.param](tmp_path, port, upstream.server.url.removeprefix("http://"), certificate)
        with running(command, port, upstream.home.environment, tmp_path):
            url = f"https://{NAME}:{port}"
            home = Phimage(tmp_path / "home", SSL_CERT_FILE=str(trusted)).using(url, upstream.key)
            yield Site(url, upstream.key, home, authority)


@contextmanager
def running(command: list[str], port: int, environment: Mapping[str, str], folder: Path) -> Iterator[None]:
    """A proxy that listens on a port."""
    with (folder / "output").open("w") as output:
        proxy = subprocess.Popen(command, env={**environment, "HOME": str(folder)}, stdout=output, stderr=output)
    try:
        wait_until(lambda: connects(port) or proxy.poll() is not None, START_SECONDS)
        assert proxy.poll() is None, (folder / "output").read_text()
        yield
    finally:
        proxy.terminate()
        proxy.wait(START_SECONDS)


def test_a_disk_is_published_and_downloaded_through_the_proxy(site: Site, tmp_path: Path) -> None:
    original = disk(tmp_path, mebibytes=DISK_MIB)
    with original.open("r+b") as file:
        file.seek(512)  # after the partition table
        file.write(random.Random(site.url).randbytes(DISK_MIB * MIB - 512))
    whole = original.read_bytes()

    image = site.phimage.well("image", "publish", str(original), "--trust-first-use", *DESCRIBED).strip()
    site.phimage.well("image", "download", image, "-o", "disk.raw")

    assert (site.phimage.home / "disk.raw").read_bytes() == whole
    addresses = site.phimage.json("image", "url", image)
    urls = {name: address for name, address in addresses.items() if name.endswith("Url")}
    assert len(urls) == 5
    assert all(address.startswith(f"{site.url}/images/{image}") for address in urls.values()), urls
    with site.pool() as pool:
        digest = pool.request("GET", urls["Sha256Url"]).data.split()[0].decode()
    assert digest == sha256(whole).hexdigest()


def test_the_official_sdk_gets_addresses_that_work_and_cannot_forge_them(
    site: Site, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", site.phimage.environment["SSL_CERT_FILE"])
    forged = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "X-Forwarded-Port": "1"}
    client = sdk(site.url, site.key)

    @client.transport.middleware.request  # type: ignore[untyped-decorator]  # the SDK has no types
    def forge(request: object) -> object:
        request.headers = {**(request.headers or {}), **forged}  # type: ignore[attr-defined]
        return request

    what = {
        "ImageType": "Base",
        "Name": "Debian",
        "OsType": "Debian",
        "OsName": "Debian 12 64bit",
        "Zone": ["cn-bj2-02"],
        "Support": ["DB-2"],
    }
    begun = client.invoke(
        "PublishPHostImage", {**what, "Zone": ["cn-bj2-02"], "FileName": "disk.raw", "Size": 5 * MIB, "TrustFirstUse": True}
    )

    assert begun["UploadUrl"].startswith(f"{site.url}/uploads/")
    with site.pool() as pool:
        assert pool.request("GET", begun["UploadUrl"]).status == 200
    client.invoke("WithdrawPHostImage", {"ImageId": begun["ImageId"]})


def test_metrics_are_not_for_the_clients_of_a_proxy_on_the_same_machine(
    upstream: Upstream, trusting_none: Server, tmp_path: Path
) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed; on Debian: apt-get install nginx")
    servers = {"trusting": upstream.server.url, "trusting-none": trusting_none.url}
    locations = "".join(
        f"location /{name}/{kind}/ {{ proxy_pass {url}/; {setting} }}\n"
        for name, url in servers.items()
        for kind, setting in PROXY_SETTINGS.items()
    )
    with ExitStack() as stack:
        port = port_of(stack.enter_context(reserved_port()))
        command = nginx_command(tmp_path, f"server {{ listen 127.0.0.1:{port};\n{locations}}}")
        stack.enter_context(running(command, port, upstream.home.environment, tmp_path))
        pool = stack.enter_context(urllib3.PoolManager())
        for name, url in servers.items():
            assert pool.request("GET", f"{url}/metrics").status == 200, name
            for kind in PROXY_SETTINGS:
                for forged in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-Forwarded-For": "::1"}):
                    found = pool.request("GET", f"http://127.0.0.1:{port}/{name}/{kind}/metrics", headers=forged)
                    assert found.status == 403, (name, kind, forged)
            assert pool.request("GET", f"http://127.0.0.1:{port}/{name}/bare/healthz").status == 200
