"""The token that opens ``/metrics``, where a file holds one."""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

from rafiki.errors import ConfigError
from rafiki.utils.paths import expand, why

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig

_FEWEST_CHARS = 16
_MOST_BYTES = 4096


class MetricsToken:
    """Read at each request, so that a new one holds at once."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def is_it(self, token: bytes) -> bool:
        """Whether that is the token. A file that is gone or empty opens nothing."""
        try:
            held = _read(self._file)
        except OSError:
            return False
        return len(held) >= _FEWEST_CHARS and hmac.compare_digest(held, token)


def _read(file: Path) -> bytes:
    with file.open("rb") as f:
        return f.read(_MOST_BYTES).strip()


def find_token_file(loaded: LoadedConfig) -> Path | None:
    """The file that ``metrics.token_file`` names; None where it names none.

    Raises:
        ConfigError: it cannot be read, or what it holds can be guessed.
    """
    setting = loaded.config.metrics.token_file
    if setting is None:
        return None
    where = next((o.origin for o in loaded.origins if o.key == "metrics.token_file"), "default")
    try:
        file = expand(loaded.base_folder, setting)
        held = _read(file)
    except (ValueError, OSError) as e:
        reason = why(e) if isinstance(e, OSError) else str(e)
        raise ConfigError(f"{where}: metrics.token_file: {setting} cannot be read: {reason}.") from e
    if len(held) < _FEWEST_CHARS:
        raise ConfigError(
            f"{where}: metrics.token_file: what {file} holds is shorter than {_FEWEST_CHARS} characters. Make one with "
            "`openssl rand -hex 32`."
        )
    return file
