"""HTTPS by the server itself: versions, certificates that are wrong or renewed, and clients that verify it."""

from __future__ import annotations

import datetime
import os
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from phimage.client import Client
from phimage.model.account import PrivateKey
from tests.e2e.conftest import Sdk
from tests.e2e.process import Phimage, Server, wait_until
from tests.uploading import connects, port_of, reserved_port

SOON = 60.0


class Files(NamedTuple):
    """A certificate for 127.0.0.1, and perhaps another address, that signs itself, and its key."""

    certificate: Path
    key: Path


def make_certificate(folder: Path, days: float = 30, name: str = "server", address: str = "127.0.0.1") -> Files:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    addresses = [x509.IPAddress(ip_address(each)) for each in dict.fromkeys(("127.0.0.1", address))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Files(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def home_with(folder: Path, files: Files, **variables: str) -> Phimage:
    settings = {"PHIMAGE_TLS_CERTIFICATE": str(files.certificate), "PHIMAGE_TLS_KEY": str(files.key)}
    return Phimage(folder / "home", **settings, SSL_CERT_FILE=str(files.certificate), **variables)


def serve(home: Phimage) -> Server:
    return Server(home, "serve", "--port", "0", "--data-dir", "data")


def handshake(port: int, version: str) -> str:
    """The version of TLS that a client agrees on which may use one only, also an old one; empty when it was refused."""
    ended = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", f"-{version}", "-cipher", "DEFAULT@SECLEVEL=0"],
        input="",
        capture_output=True,
        encoding="utf-8",
        timeout=SOON,
        check=False,
    )
    agreed = [line.split()[1].rstrip(",") for line in ended.stdout.splitlines() if line.startswith("New, TLS")]
    lines = [line.partition(":")[2].strip() for line in ended.stdout.splitlines() if line.strip().startswith("Protocol ")]
    return (lines or agreed or [""])[0] if ended.returncode == 0 else ""


@contextmanager
def accepting_any_version(files: Files) -> Iterator[int]:
    """The port of a server that takes every version of TLS: it shows that the client can use the old ones."""
    with reserved_port() as reserved:
        port = port_of(reserved)
        command = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-quiet", "-cipher", "DEFAULT@SECLEVEL=0"]
        process = subprocess.Popen([*command, "-cert", str(files.certificate), "-key", str(files.key)], stdin=subprocess.PIPE)
        try:
            wait_until(lambda: connects(port), SOON)
            yield port
        finally:
            process.kill()
            process.communicate()


def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    with accepting_any_version(files) as port:
        assert handshake(port, "tls1") == "TLSv1", "the client can"
        assert handshake(port, "tls1_1") == "TLSv1.1"
    with serve(home_with(tmp_path, files)) as server:
        port = urlsplit(server.url).port or 0
        assert [handshake(port, version) for version in ("tls1", "tls1_1")] == ["", ""]
        assert handshake(port, "tls1_2") == "TLSv1.2"
        assert handshake(port, "tls1_3") == "TLSv1.3"


@pytest.mark.more
def test_the_oldest_version_is_a_setting(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    with serve(home_with(tmp_path, files, PHIMAGE_TLS_MINIMUM="1.3")) as server:
        port = urlsplit(server.url).port or 0
        assert (handshake(port, "tls1_2"), handshake(port, "tls1_3")) == ("", "TLSv1.3")


def test_clients_use_https_and_get_addresses_with_https(tmp_path: Path, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    files = make_certificate(tmp_path, days=30)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(files.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(files.certificate))
    home = home_with(tmp_path, files)
    with serve(home) as server:
        assert server.url.startswith("https://127.0.0.1:")
        key = server.new_key
        assert key is not None
        assert sdk(server.url, key).invoke("GetRegion")["RetCode"] == 0
        home.using(server.url, key).well("catalog", "apply", "-", text=home.well("catalog", "starter"))
        with Client(server.url, key.public, PrivateKey(key.private)) as client:
            about = {"Name": "x", "OsType": "Debian", "OsName": "Debian 12", "Zone": ["cn-bj2-02"], "Support": ["DB-2"]}
            begun = client.call("PublishPHostImage", ImageType="Base", TrustFirstUse=True, **about).fields
        assert begun["UploadUrl"].startswith(f"{server.url}/uploads/")
        with urllib3.PoolManager(ca_certs=str(files.certificate)) as pool:
            assert pool.request("GET", begun["UploadUrl"], retries=False).status == 200
            answer = pool.request("GET", f"{server.url}/metrics", retries=False)
            line = next(line for line in answer.data.decode().splitlines() if line.startswith("phimage_certificate_expires"))
            days = (float(line.split()[1]) - datetime.datetime.now(datetime.UTC).timestamp()) / 86400
            assert 29 < days < 31
            assert pool.request("GET", f"{server.url}/healthz", retries=False).status == 200


def test_http_at_the_port_of_https_harms_nobody(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    with serve(home_with(tmp_path, files)) as server:
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port or 0), timeout=SOON) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            found = b""
            while part := client.recv(1000):
                found += part
            assert b"200" not in found
        with urllib3.PoolManager(ca_certs=str(files.certificate)) as pool:
            assert pool.request("GET", f"{server.url}/healthz", retries=False).status == 200


def name_of_certificate(server: Server) -> str:
    pem = ssl.get_server_certificate(("127.0.0.1", urlsplit(server.url).port or 0))
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


def test_a_renewed_certificate_is_served_after_a_hang_up_and_no_request_is_lost(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    over, answered = threading.Event(), [0]
    failures: list[str] = []

    def ask() -> None:
        with urllib3.PoolManager(cert_reqs="CERT_NONE") as pool:
            while not over.is_set():
                try:
                    answered[0] += pool.request("GET", f"{server.url}/healthz", retries=False).status == 200
                except urllib3.exceptions.HTTPError as error:
                    failures.append(repr(error))

    with serve(home_with(tmp_path, files)) as server:
        urllib3.disable_warnings()
        asking = threading.Thread(target=ask)
        asking.start()
        try:
            first = server.workers()
            renewed = make_certificate(tmp_path, name="renewed")
            os.replace(renewed.key, files.key)  # noqa: PTH105
            renewed.certificate.replace(files.certificate)
            server.signal(signal.SIGHUP)
            wait_until(lambda: name_of_certificate(server) == "CN=renewed", SOON)
            wait_until(lambda: not any(worker.alive() for worker in first), SOON)
            files.certificate.write_text("nonsense")
            server.signal(signal.SIGHUP)
            wait_until(lambda: '"reload.failed"' in server.errors, SOON)
            assert name_of_certificate(server) == "CN=renewed"
            before = answered[0]
            wait_until(lambda: answered[0] > before + 10, SOON)
        finally:
            over.set()
            asking.join()
        assert failures == []


@pytest.mark.more
def test_wrong_files_are_refused_with_the_setting(tmp_path: Path) -> None:
    files, others = make_certificate(tmp_path), make_certificate(tmp_path, name="others")
    nonsense = tmp_path / "nonsense"
    nonsense.write_text("nonsense")
    encrypted = tmp_path / "encrypted"
    encrypted.write_bytes(
        serialization.load_pem_private_key(files.key.read_bytes(), None).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"secret")
        )
    )
    missing = tmp_path / "missing"
    for certificate, key, message in (
        (str(missing), str(files.key), f"tls_certificate: {missing} cannot be read: No such file or directory"),
        (str(nonsense), str(files.key), f"tls_certificate: {nonsense} has no certificate in PEM format"),
        (str(files.certificate), str(missing), f"tls_key: {missing} cannot be read: No such file or directory"),
        (str(files.certificate), str(nonsense), f"tls_key: {nonsense} has no private key in PEM format that can be used"),
        (str(files.certificate), "", f"tls_key: {files.certificate} has no private key in PEM format"),
        (str(files.certificate), str(others.key), f"tls_key: {others.key} is not the key of the certificate in"),
        (str(files.certificate), str(encrypted), f"tls_key: {encrypted} is encrypted"),
        ("", str(files.key), "tls_key is set without tls_certificate"),
    ):
        home = Phimage(tmp_path / "home", PHIMAGE_TLS_CERTIFICATE=certificate, PHIMAGE_TLS_KEY=key)
        result = home.run("serve", "--port", "0", "--data-dir", "data")
        assert (result.code, result.out) == (78, ""), result
        assert result.err.startswith(f"phimage: {message}"), result.err
    assert not (tmp_path / "home" / "data").exists()
