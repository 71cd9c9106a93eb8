"""Certificates and keys in PEM files: read, checked, and made into what TLS is spoken with.

What is wrong with a file is said by :class:`CertificateError` as the end of a sentence, which the caller begins with
the setting that names the file.
"""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import msgspec

from rafiki.utils.clock import utc_now
from rafiki.utils.paths import why

_MOST_BYTES = 1 << 20


class CertificateError(Exception):
    """A file cannot be used: ``it expired on 2026-01-31``."""


class CertificateFiles(msgspec.Struct, frozen=True, kw_only=True):
    """PEM files: of a certificate, followed by those between it and its authority, and of its key."""

    certificate: str
    key: str


def read_pem(file: Path) -> str:
    """The text of a PEM file.

    Raises:
        CertificateError: it cannot be read, or is none.
    """
    try:
        with file.open("rb") as f:
            text = f.read(_MOST_BYTES).decode("ascii")
    except OSError as e:
        raise CertificateError(f"{file}: {why(e)}") from e
    except UnicodeDecodeError as e:
        raise CertificateError(f"{file} is no PEM file; `openssl x509 -inform der` makes one of a DER file") from e
    if "-----BEGIN " not in text:
        raise CertificateError(f"{file} is no PEM file: it has no line -----BEGIN ...-----")
    return text


def read_authority(file: Path) -> str:
    """The certificates of the authorities that a file holds, in PEM.

    Raises:
        CertificateError: it cannot be read, holds none, or all of them have expired.
    """
    text = read_pem(file)
    ends = ends_of(file, text)
    if max(ends) < utc_now():
        raise CertificateError(f"{file} expired on {max(ends):%Y-%m-%d}")
    context_trusting(text, str(file))
    return text


def read_pair(certificate: Path, key: Path) -> tuple[str, str]:
    """A certificate, followed by those between it and its authority, and its private key, in PEM.

    Raises:
        CertificateError: one cannot be read, is encrypted, has expired, is not valid yet, or they do not belong
            together.
    """
    texts = read_pem(certificate), read_pem(key)
    end = ends_of(certificate, texts[0])[0]
    if end < utc_now():
        raise CertificateError(f"{certificate} expired on {end:%Y-%m-%d}")
    if (begin := _begin_of(texts[0])) > utc_now():
        raise CertificateError(f"{certificate} is not valid before {begin:%Y-%m-%d %H:%M} UTC")
    if "PRIVATE KEY-----" not in texts[1]:
        raise CertificateError(f"{key} holds no private key")
    load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    return texts


def load_pair(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Make a context show a certificate; connections that are open keep the one before.

    Raises:
        CertificateError: as :func:`read_pair`.
    """

    def refuse() -> str:
        raise CertificateError(
            f"{key} is encrypted, and nobody is there to type its password; `openssl pkey -in {key.name}` writes it "
            "without one"
        )

    try:
        context.load_cert_chain(certificate, key, password=refuse)
    except ssl.SSLError as e:
        if e.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            raise CertificateError(f"{key} is not the key of the certificate in {certificate}") from e
        raise CertificateError(f"{certificate} and {key} cannot be used: {e.reason or e}") from e
    except OSError as e:
        raise CertificateError(f"{e.filename or certificate}: {why(e)}") from e


def context_trusting(authorities: str | None, where: str = "") -> ssl.SSLContext:
    """A client's context that trusts these authorities alone; None = those that this machine trusts (or
    ``SSL_CERT_FILE`` names).

    Raises:
        CertificateError: the text holds no certificate.
    """
    try:
        if authorities is None:
            return ssl.create_default_context()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as e:
        raise CertificateError(f"{where or 'the text'} holds no certificate that can be read ({e.reason or e})") from e
    return context


def ends_of(file: Path, text: str) -> list[datetime]:
    """When the certificates in a PEM text end, in their order.

    Raises:
        CertificateError: it holds none.
    """
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return [c.not_valid_after_utc for c in load_pem_x509_certificates(text.encode())]
    except ValueError as e:
        raise CertificateError(f"{file} holds no certificate that can be read") from e


def _begin_of(text: str) -> datetime:
    from cryptography.x509 import load_pem_x509_certificates

    return load_pem_x509_certificates(text.encode())[0].not_valid_before_utc


def why_not_trusted(error: BaseException) -> str | None:
    """Why a server's certificate was refused, in the words of OpenSSL; None when something else is wrong."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message.rstrip(".")
        seen = seen.__cause__ or seen.__context__
    return None
