"""The certificate of a server of the stack, shown anew when its file is renewed."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from rafiki.utils.certificates import CertificateError, CertificateFiles, load_pair, read_pair

_logger = logging.getLogger(__name__)
_LOOK_EVERY_S = 1.0


async def renew(files: CertificateFiles, context: ssl.SSLContext, ended: asyncio.Event) -> None:
    """Until ``ended``, let new connections to a server see what the files hold by then. While they cannot be used, the
    certificate before stays, and it is said once."""
    known: object = _state(files)
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), _LOOK_EVERY_S)
        except TimeoutError:
            known = _load_if_new(files, context, known)


def _load_if_new(files: CertificateFiles, context: ssl.SSLContext, known: object) -> object:
    now = _state(files)
    if now in (known, None):
        return known
    try:
        # A pair of which one half is not written yet must not be taken.
        read_pair(Path(files.certificate), Path(files.key))
        load_pair(context, Path(files.certificate), Path(files.key))
    except CertificateError as e:
        _logger.warning("tls: the renewed certificate cannot be used, and the one before is still shown: %s", e)
    else:
        _logger.info("tls: the certificate was renewed from %s", files.certificate)
    return now


def _state(files: CertificateFiles) -> tuple[tuple[int, int], ...] | None:
    """Changes when one of the files does; None while one is away."""
    try:
        found = [Path(file).stat() for file in (files.certificate, files.key)]
    except OSError:
        return None
    return tuple((s.st_mtime_ns, s.st_ino) for s in found)
