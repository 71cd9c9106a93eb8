"""Examines a cache server in a process of its own, for those who have no driver: ``python -m rafiki.cache.examine``."""

from __future__ import annotations

import sys

from rafiki.cache.connection import parse_cache_url
from rafiki.cache.credentials import Credentials
from rafiki.cache.rehearsal import rehearse
from rafiki.errors import CacheUnavailableError, CacheUnfitError, ConfigError
from rafiki.messages import CacheExamined, ExamineCache
from rafiki.utils.ids import new_secret
from rafiki.utils.request_process import answer_request


def examine(request: ExamineCache) -> CacheExamined:
    """What a stack would find that used the server."""
    server: str | None = None
    warning: str | None = None
    try:
        address = request.address or parse_cache_url(request.url or "", request.tls)
        credentials = Credentials(address, new_secret())
        facts = credentials.ask_server()
        server, warning = f"{facts.name} {facts.version}", facts.warning
        rehearse(address, credentials)
    except (CacheUnavailableError, CacheUnfitError, ConfigError) as e:
        return CacheExamined(server=server, problem=e.message, warning=warning)
    return CacheExamined(server=server, warning=warning)


if __name__ == "__main__":
    sys.exit(answer_request(ExamineCache, examine))
