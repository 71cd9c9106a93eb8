"""Certificates made in the test: an authority, and what it signs."""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rafiki.utils.clock import utc_now


class Pair(NamedTuple):
    """Files of a certificate and of its private key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its own is in ``file``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Test {name}")])
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = utc_now()
        made = (
            x509.CertificateBuilder().subject_name(self._name).issuer_name(self._name).public_key(self._key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=900))
            .not_valid_after(now + timedelta(days=900))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )  # fmt: skip
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *hosts: str, days: float = 30, password: str | None = None) -> Pair:
        """A certificate for hosts.

        Args:
            name: of its files, and its common name.
            days: how long it is valid from now on; below 0 = it has expired.
            password: encrypts the key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        now = utc_now()
        begin = now - timedelta(days=60 if days < 0 else 1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])).issuer_name(self._name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(begin)
            .not_valid_after(now + timedelta(days=days))
        )  # fmt: skip
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(h) for h in hosts]), critical=False)
        files = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        made = builder.sign(self._key, hashes.SHA256())
        files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        encryption = (
            serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
        )
        files.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        files.key.chmod(0o600)
        return files


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def speaks_tls(program: Path) -> bool:
    """Whether a server was built with OpenSSL."""
    return b"SSL_CTX_" in program.read_bytes()
