"""Certificates for a test: an authority of its own, and contexts for both sides."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates. `asked` are the names that clients requested (SNI)."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.certificate = self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0), [])

    def client(self) -> ssl.SSLContext:
        """A context that trusts this authority and no other."""
        return ssl.create_default_context(cadata=self.pem().decode())

    def server(self, name: str) -> ssl.SSLContext:
        """The context of a server with a certificate for a name or an address."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.write_bytes(self.key_and_certificate(name))
            context.load_cert_chain(path)
        context.sni_callback = lambda connection, asked, own: self.asked.append(asked)
        return context

    def pem(self) -> bytes:
        """The certificate of this authority, for clients."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_and_certificate(self, name: str) -> bytes:
        """A new private key and its certificate for a name or an address, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            subject = x509.DNSName(name)
        certificate = self._signed(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")]),
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            [x509.SubjectAlternativeName([subject])],
        )
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return private + certificate.public_bytes(serialization.Encoding.PEM)

    def _signed(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        constraints: x509.BasicConstraints,
        extensions: list[x509.SubjectAlternativeName],
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if constraints.ca:
            usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self._key, hashes.SHA256())
