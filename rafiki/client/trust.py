"""Whose certificates a client takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rafiki.errors import ConfigError
from rafiki.utils.paths import expand

if TYPE_CHECKING:
    import ssl

    from rafiki.config import LoadedConfig
    from rafiki.utils.pid_file import PidFile

_END = "-----END CERTIFICATE-----"


class Trust(NamedTuple):
    """Told nothing, those that the machine's authorities have signed (or those that ``SSL_CERT_FILE`` names)."""

    ca: str | None = None
    """PEM file of the authorities that count in their place."""
    pinned: str | None = None
    """PEM file of the very certificate that a server of this machine shows, whatever name it is for."""

    def context(self) -> ssl.SSLContext:
        """What TLS is spoken with.

        Raises:
            ConfigError: a file cannot be used.
        """
        import ssl

        from rafiki.utils.certificates import CertificateError, context_trusting, read_pem

        try:
            if self.pinned is None:
                return context_trusting(None if self.ca is None else read_pem(Path(self.ca)), self.ca or "")
            # The first one is the server's own; those that follow have signed others', too.
            own, _, _ = read_pem(Path(self.pinned)).partition(_END)
            context = context_trusting(own + _END, self.pinned)
        except CertificateError as e:
            raise ConfigError(f"The certificates to trust: {e}.") from e
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        return context


def told_trust(ca: str | Path | None) -> Trust:
    """What somebody says, else ``RAFIKI_CA``."""
    from rafiki.user_environment import ca_from_environment  # The help of commands needs none of it.

    return Trust(ca=str(ca) if ca is not None else ca_from_environment())


def of_running(admin: PidFile, host: str) -> tuple[str, Trust]:
    """An admin that runs on this machine: its host, with ``https://`` before it where it speaks TLS, and whom to
    trust."""
    certificate = admin.details.get("certificate")
    return (host, Trust()) if certificate is None else (f"https://{host}", Trust(pinned=certificate))


def of_settings(loaded: LoadedConfig, host: str) -> tuple[str, Trust]:
    """As :func:`of_running`, of an admin that only the settings name."""
    tls = loaded.config.tls
    trust = told_trust(None)
    if trust.ca is None and tls.ca is not None:
        try:
            trust = Trust(ca=str(expand(loaded.base_folder, tls.ca)))
        except ValueError as e:
            raise ConfigError(f"tls.ca = {tls.ca!r}: {e}. Name a PEM file.") from e
    return (host if tls.certificate is None else f"https://{host}"), trust
