"""The stack's own authority: it signs the certificate that the service door and the private cache show to services on
other hosts, which trust it alone. Made at the first `rafiki up` that needs it; running services know it, so it is kept.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rafiki.utils.clock import utc_now
from rafiki.utils.files import read_text, write_private

_VALID = datetime.timedelta(days=3650)
_RENEW_BEFORE = datetime.timedelta(days=365)
_SLOW_CLOCKS = datetime.timedelta(days=1)


class ServerTls(msgspec.Struct, frozen=True, kw_only=True):
    """What a server of the stack shows, and whom its clients trust."""

    certificate: Path
    key: Path
    authorities: str
    """In PEM."""


def server_tls(folder: Path, hosts: list[str]) -> ServerTls:
    """A new certificate for hosts of this machine, by the stack's authority; that is made if there is none yet.

    Args:
        folder: where the files are, private to this user.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = _find_authority(folder)
    if found is None:
        found = _make_authority(folder)
    authority, authority_key = found
    key = ec.generate_private_key(ec.SECP256R1())
    names = [_general_name(host) for host in dict.fromkeys(hosts)]
    made = (
        _builder("Rafiki service door", key.public_key(), authority.subject, authority.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "server.pem", folder / "server-key.pem"
    write_private(key_file, _text_of(key))
    write_private(certificate_file, made.public_bytes(serialization.Encoding.PEM).decode())
    pem = authority.public_bytes(serialization.Encoding.PEM).decode()
    return ServerTls(certificate=certificate_file, key=key_file, authorities=pem)


def _find_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """None when there is none, it is damaged, or it ends soon: then running services are of another one."""
    certificate, key = (read_text(folder / name) for name in _AUTHORITY)
    if certificate is None or key is None:
        return None
    try:
        found = x509.load_pem_x509_certificate(certificate.encode())
        private = serialization.load_pem_private_key(key.encode(), None)
    except ValueError:
        return None
    if found.not_valid_after_utc - utc_now() < _RENEW_BEFORE or not isinstance(private, ec.EllipticCurvePrivateKey):
        return None
    return (found, private) if private.public_key() == found.public_key() else None


_AUTHORITY = ("authority.pem", "authority-key.pem")


def _make_authority(folder: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    made = (
        _builder("Rafiki stack", key.public_key(), None, utc_now() + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(folder / _AUTHORITY[1], _text_of(key))
    write_private(folder / _AUTHORITY[0], made.public_bytes(serialization.Encoding.PEM).decode())
    return made, key


def _builder(
    name: str, key: ec.EllipticCurvePublicKey, issuer: x509.Name | None, end: datetime.datetime
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - _SLOW_CLOCKS)
        .not_valid_after(end)
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _text_of(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
