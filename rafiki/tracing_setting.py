"""The section ``tracing`` of rafiki.yaml, checked."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rafiki.distribution import NAME
from rafiki.errors import ConfigError
from rafiki.messages import TracingSpec
from rafiki.oidc.settings import is_safe_url
from rafiki.utils.paths import expand, why

if TYPE_CHECKING:
    from rafiki.config import LoadedConfig

_PATH = "/v1/traces"
_MODULES = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http.trace_exporter")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*:\s*([ -~]+)")
_MOST_BYTES = 16_384


def read_tracing(loaded: LoadedConfig) -> TracingSpec | None:
    """What the settings say; None where they ask for no traces.

    Raises:
        ConfigError: one is wrong, or the packages are missing, with what to do.
    """
    settings = loaded.config.tracing
    origins = {o.key: o.origin for o in loaded.origins}

    def wrong(key: str, reason: str) -> ConfigError:
        return ConfigError(f"{origins.get(f'tracing.{key}', 'default')}: tracing.{key}: {reason}")

    if settings.endpoint is None:
        return None
    if not _is_url(settings.endpoint):
        raise wrong("endpoint", f"{settings.endpoint!r} is no address: write http://HOST:4318, or https://HOST/PATH.")
    if not _has_packages():
        raise wrong("endpoint", f"traces need packages that are not installed: pip install '{NAME}[otel]'.")
    file = None
    if settings.headers_file is not None:
        if not is_safe_url(settings.endpoint):
            raise wrong("headers_file", "what it holds is sent by https, or to this machine alone: write https://...")
        try:
            file = expand(loaded.base_folder, settings.headers_file)
            read_headers(file)
        except OSError as e:
            raise wrong("headers_file", f"{settings.headers_file} cannot be read: {why(e)}.") from e
        except ValueError as e:
            raise wrong("headers_file", f"{settings.headers_file}: {e}.") from e
    path = urlsplit(settings.endpoint).path
    endpoint = settings.endpoint if path.strip("/") else settings.endpoint.rstrip("/") + _PATH
    return TracingSpec(endpoint=endpoint, ratio=settings.ratio, headers_file=None if file is None else str(file))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False


def _has_packages() -> bool:
    try:
        return all(importlib.util.find_spec(name) is not None for name in _MODULES)
    except ModuleNotFoundError:
        return False


def read_headers(file: Path) -> dict[str, str]:
    """The headers that a file holds, one a line: ``name: value``.

    Raises:
        OSError: it cannot be read.
        ValueError: in words, when it holds something else.
    """
    with file.open("rb") as f:
        text = f.read(_MOST_BYTES).decode("utf-8")
    headers = {}
    for no, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _HEADER.fullmatch(line.strip())
        if found is None:
            raise ValueError(f"line {no} is no header; write NAME: VALUE")
        headers[found[1].lower()] = found[2].strip()
    return headers
