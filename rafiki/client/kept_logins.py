"""Logins that the command line keeps for this user, by the address of the admin, in one private file."""

from __future__ import annotations

from pathlib import Path
from typing import NotRequired, TypedDict

from rafiki.errors import ConfigError


class Login(TypedDict):
    """A login as it is kept."""

    email: str
    user_type: str
    token: str
    stack: NotRequired[str]
    """The id of the stack, where it was known."""


def logins_file() -> Path:
    from rafiki.user_environment import user_config_folder

    return user_config_folder() / "logins.json"


def read_logins() -> dict[str, Login]:
    """All kept logins, by address.

    Raises:
        ConfigError: when the file is damaged.
    """
    import msgspec

    from rafiki.utils.files import read_text

    file = logins_file()
    text = read_text(file)
    if not text:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Login])
    except msgspec.DecodeError as e:
        from rafiki.utils.mismatch import explain_json

        reason = explain_json(text, dict[str, Login])
        raise ConfigError(f"{file}: the kept logins are damaged ({reason}). Remove the file and log in again.") from e


def find_login(address: str, stack_id: str | None = None) -> Login | None:
    """The login kept for an admin.

    Args:
        address: of the admin.
        stack_id: of the stack that is meant: a login that was made at another one, when it had the same port, is none.

    Raises:
        ConfigError: as :func:`read_logins` does.
    """
    found = read_logins().get(address)
    if found is None or stack_id is None or found.get("stack", stack_id) == stack_id:
        return found
    return None
