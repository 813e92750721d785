"""The certificate of the server: read, checked, and made into what encrypts connections."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

from msgspec import Struct

from phimage.errors import SetupError
from phimage.event_log import log
from phimage.settings import Settings

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Tls(Struct, frozen=True):
    """What encrypts connections, and when the certificate expires, in Unix seconds."""

    context: ssl.SSLContext
    expires: float


def read_tls(settings: Settings) -> Tls | None:
    """The certificate and its key, from the files that the settings name; None without them.

    Raises SetupError with the setting whose file is wrong.
    """
    if not settings.tls_certificate:
        if settings.tls_key:
            raise SetupError("tls_key is set without tls_certificate: name the file of the certificate as well")
        return None
    certificate = Path(settings.tls_certificate).expanduser()
    key = Path(settings.tls_key or settings.tls_certificate).expanduser()
    expires = _expiry(certificate)
    _check_readable("tls_key", key)
    if expires < time.time():
        log.warning("tls.expired", certificate=str(certificate))
    return Tls(_context(certificate, key, settings), expires)


def _context(certificate: Path, key: Path, settings: Settings) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.tls_minimum]
    context.set_alpn_protocols(["http/1.1"])

    def refuse_passphrase() -> str:
        raise SetupError(f"tls_key: {key} is encrypted: store the key without a passphrase, readable by its owner only")

    try:
        context.load_cert_chain(certificate, key, refuse_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SetupError(f"tls_key: {key} is not the key of the certificate in {certificate}") from None
        raise SetupError(f"tls_key: {key} has no private key in PEM format that can be used ({_reason(error)})") from None
    return context


def _expiry(certificate: Path) -> float:
    """When a certificate expires, the first one of its file."""
    from cryptography import x509  # late: a server without TLS does not need it

    _check_readable("tls_certificate", certificate)
    try:
        return x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc.timestamp()
    except ValueError:
        raise SetupError(f"tls_certificate: {certificate} has no certificate in PEM format") from None


def _check_readable(setting: str, file: Path) -> None:
    try:
        file.read_bytes()
    except OSError as error:
        raise SetupError(f"{setting}: {file} cannot be read: {error.strerror}") from None


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or "unknown").replace("_", " ").lower()
