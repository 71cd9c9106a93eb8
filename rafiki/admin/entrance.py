"""Where services of other hosts come in: at the admin itself where that will do, else at a socket of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rafiki.admin.advertised import Advertised, advertise
from rafiki.admin.door_listener import DoorListener, open_door
from rafiki.config import LoadedConfig
from rafiki.container.base import Address
from rafiki.stack_folder import StackFolder
from rafiki.utils.addresses import EVERYWHERE, is_loopback

if TYPE_CHECKING:
    from rafiki.admin.authority import ServerTls


@dataclass(frozen=True, kw_only=True)
class Entrance:
    """The address of the service door, and what listens there."""

    at: Advertised
    url: str
    authorities: str | None = None
    """Who may have signed its certificate, in PEM; None = it speaks no TLS."""
    tls: ServerTls | None = None
    """What the private cache speaks TLS with, too."""
    listener: DoorListener | None = None
    """None = the admin's own socket."""


def open_entrance(loaded: LoadedConfig, folder: StackFolder, admin: Address, *, is_admin_tls: bool = False) -> Entrance:
    """Listen where ``cluster.advertise_host`` says.

    Args:
        admin: where the admin listens.
        is_admin_tls: whether it speaks TLS there, with a certificate for other names than services know it by.

    Raises:
        ConfigError: nobody could, or may, be let in there.
        StackError: the port is taken.
    """
    at = advertise(loaded.config)
    is_at_admin = not (at.is_elsewhere or is_admin_tls) and (admin.host in EVERYWHERE or is_loopback(admin.host))
    if is_at_admin:
        return Entrance(at=at, url=f"http://{Address(at.host, admin.port)}")
    tls = None
    if at.is_tls:
        from rafiki.admin.authority import server_tls  # It loads cryptography, 10 MB.

        tls = server_tls(folder.tls_folder, [at.host, "127.0.0.1"])
    listener = open_door(folder, at, loaded.config.cluster.port, tls)
    return Entrance(at=at, url=listener.url, authorities=listener.authorities, tls=tls, listener=listener)
