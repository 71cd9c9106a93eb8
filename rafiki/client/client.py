"""The client: one method for each call of the contract, under the same name. The methods stand with their nouns."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rafiki.client.assets import AssetCalls
from rafiki.client.find_admin import find_admin
from rafiki.client.frames import FrameCalls
from rafiki.client.inference_jobs import InferenceJobCalls
from rafiki.client.kept_logins import find_login
from rafiki.client.stack import StackCalls
from rafiki.client.trust import told_trust
from rafiki.client.users import UserCalls
from rafiki.client.waiting import Waiting
from rafiki.client.webhooks import WebhookCalls
from rafiki.config import SUPERADMIN_EMAIL
from rafiki.contract import users
from rafiki.errors import InvalidPasswordError
from rafiki.user_environment import token_from_environment


class Client(StackCalls, UserCalls, AssetCalls, FrameCalls, InferenceJobCalls, WebhookCalls, Waiting):
    """Calls the admin of a stack. Answers are plain dicts and lists; datetimes in them are ISO 8601 texts.

    Every method raises the error that the admin raised (see :mod:`rafiki.errors`), ``UnreachableError`` when
    no admin answers in time, and ``UnauthorizedError`` when it needs a login and there is none. Safe to share
    between threads.

    Told nothing, it finds its admin by itself, and the login with it. The first of these that is there wins:
    ``RAFIKI_HOST``; the context that ``rafiki context use`` chose; the running stack of the project that the working
    folder (or the script) is in; ``RAFIKI_ADDR`` and ``ADMIN_EXT_PORT``; the port that the project's ``rafiki.yaml``
    names; ``localhost:3000``. ``repr(client)`` says which it was. The login is ``RAFIKI_TOKEN``, else the one that
    ``rafiki login`` kept; who may read the superadmin's first password in the project's stack needs none.

    Args:
        admin_host: name or address of the machine on which the admin runs; ``https://`` before it where it, or
            a proxy in front of it, speaks TLS.
        admin_port: port of the admin; 3000 where only the host is given.
        ca: PEM file of the authorities that its certificate is checked against; None = ``RAFIKI_CA``, else those that
            the machine trusts. A stack on this machine that it finds by itself is known by its own files.
    """

    def __init__(
        self, admin_host: str | None = None, admin_port: int | str | None = None, *, ca: str | Path | None = None
    ) -> None:
        found = find_admin(admin_host, admin_port)
        trust = told_trust(ca) if ca is not None or found.trust is None else found.trust
        super().__init__(found.host, found.port, hint=found.hint, trust=trust)
        self._found = found
        self._caller.stack_id = found.stack_id
        self._caller.stack = found.stack
        self._caller.down = found.down
        if found.has_logins:
            self._caller.find_token = self._find_token

    def __repr__(self) -> str:
        return f"<Client of {self.address}: {self._found.why}>"

    def _find_token(self) -> str | None:
        """The token of a login that was made elsewhere, or with the first password of the stack."""
        if self._found.takes_variable and (token := token_from_environment()):
            return token
        kept = find_login(self.address, self._found.stack_id)
        if kept is None or kept["email"] == SUPERADMIN_EMAIL:
            # What was kept may be too old, or of another stack that had the same port.
            with contextlib.suppress(InvalidPasswordError):
                if password := self._found.superadmin_password():
                    return str(self._one(users.LOGIN, email=SUPERADMIN_EMAIL, password=password)["token"])
        return None if kept is None else kept["token"]
