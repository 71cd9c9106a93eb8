"""What arguments and options may be, for the completion of shells.

Each function gives the values of one kind with a word about each. It may ask the server: within a second, with the
login that is kept, and silently nothing when that fails. Answers are kept for a few seconds, because people press the
key again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rafiki.contract.endpoint import AnyEndpoint

TIMEOUT_S = 0.9
"""How long the server may take: a person waits for it at the prompt."""
FRESH_S = 8.0
"""How long an answer is used again."""
Values = list[tuple[str, str]]
"""The values with a word about each, which may be empty."""


def _ask(pick: Callable[[], AnyEndpoint], **fields: Any) -> list[dict[str, Any]]:
    """The answer of the server to a call that lists something; nothing when there is none in time."""
    with contextlib.suppress(Exception):  # A prompt is no place for errors: the command itself will tell them.
        from rafiki.config import token_from_environment
        from rafiki_cli.target import session

        admin = session.target()
        login = session.find_login(admin.address) or {}
        given = token_from_environment()
        session.refuse_to_send(given or "", admin)
        token = given or login.get("token")
        if token:
            return _cached(admin, token, pick(), fields)
    return []


def _cached(admin: Any, token: str, endpoint: AnyEndpoint, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    from rafiki.config import user_cache_folder
    from rafiki.utils.files import write_private

    key = json.dumps([admin.address, token, endpoint.name, fields])
    file = user_cache_folder() / "completion" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError, ValueError):
        if 0 <= time.time() - file.stat().st_mtime < FRESH_S:
            kept: list[dict[str, Any]] = json.loads(file.read_text("utf-8"))
            return kept
    found = _get(admin.host, admin.port, token, endpoint, fields)
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clean(file.parent)
        write_private(file, json.dumps(found))
    return found


def _clean(folder: Path) -> None:
    """Remove old answers."""
    for old in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 60 * FRESH_S:
                old.unlink()


def _get(host: str, port: int, token: str, endpoint: AnyEndpoint, fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One GET with the standard library, which loads in a tenth of the client's time."""
    import http.client
    import threading
    from urllib.parse import quote

    name = host.removeprefix("https://")
    kind = http.client.HTTPSConnection if name != host else http.client.HTTPConnection
    connection = kind(name, port, timeout=TIMEOUT_S)
    path = endpoint.path.format(**{n: quote(str(v), safe="") for n, v in fields.items()})
    found: list[dict[str, Any]] = []

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if answer.status == 200 and isinstance(body, list):
                found.extend(body)

    # The socket's time-out counts anew with each byte, so that a slow answer needs a deadline of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return list(found)


def _distinct(rows: list[dict[str, Any]], key: str, about: Callable[[dict[str, Any]], str]) -> Values:
    """The first row of each value: lists come newest first."""
    found: dict[str, str] = {}
    for row in rows:
        found.setdefault(str(row[key]), about(row))
    return list(found.items())


# ---- names that the server knows -----------------------------------------------------------------------------------


def apps() -> Values:
    """Apps with a train job."""
    return _distinct(_train_jobs(), "app", lambda j: f"version {j['app_version']}, {j['status'].lower()}")


def _train_jobs() -> list[dict[str, Any]]:
    from rafiki.contract import train_jobs

    return _ask(lambda: train_jobs.GET_TRAIN_JOBS_BY_USER)


def served_apps() -> Values:
    """Apps that are deployed; when there are none, every app."""
    from rafiki.contract import inference_jobs

    rows = _ask(lambda: inference_jobs.GET_INFERENCE_JOBS_BY_USER)
    live = [j for j in rows if j["status"] in ("STARTED", "RUNNING")]
    return _distinct(live, "app", lambda j: f"version {j['app_version']}, {j['status'].lower()}") or apps()


def versions(ctx: typer.Context) -> Values:
    """The versions of the app that the command names."""
    app = ctx.params.get("app") or ctx.params.get("trial")
    return [(str(j["app_version"]), j["status"].lower()) for j in _train_jobs() if j["app"] == app]


def datasets() -> Values:
    """Datasets by name."""
    from rafiki.contract import datasets

    return _distinct(_ask(lambda: datasets.GET_DATASETS), "name", lambda d: str(d["task"]))


def models() -> Values:
    """Models by name."""
    from rafiki.contract import models

    return _distinct(_ask(lambda: models.GET_AVAILABLE_MODELS), "name", lambda m: str(m["task"]))


def trials(ctx: typer.Context) -> Values:
    """The trials of the app that the command names, as ``MODEL#N``."""
    from rafiki.contract import train_jobs

    app = ctx.params.get("trial") or ctx.params.get("app")
    version = ctx.params.get("version") or -1
    rows = _ask(lambda: train_jobs.GET_TRIALS_OF_TRAIN_JOB, app=app, app_version=version) if app else []
    return [(f"{t['model_name']}#{t['no']}", _score(t)) for t in rows]


def _score(trial: dict[str, Any]) -> str:
    return f"{trial['score']:.4f}" if trial["score"] is not None else trial["status"].lower()


def users() -> Values:
    """Users that are not banned, by email; for admins."""
    from rafiki.contract import users

    return [(u["email"], u["user_type"]) for u in _ask(lambda: users.GET_USERS) if not u["banned_date"]]


def tokens() -> Values:
    """API tokens by name."""
    from rafiki.contract import api_tokens

    return _distinct(_ask(lambda: api_tokens.GET_API_TOKENS), "name", lambda t: f"until {t['datetime_expires'][:10]}")


def environments() -> Values:
    """Environments by key."""
    from rafiki.contract import environments

    rows = _ask(lambda: environments.GET_ENVIRONMENTS)
    return _distinct(rows, "key", lambda e: ", ".join(e["requirements"]))


# ---- names that this machine knows ---------------------------------------------------------------------------------


def contexts() -> Values:
    """Contexts."""
    from rafiki_cli.target import contexts

    found: Values = [(contexts.LOCAL, "the stack of this folder")]
    with contextlib.suppress(Exception):
        found += contexts.read_contexts().hosts.items()
    return found


def logs() -> Values:
    """The logs of the stack of this folder."""
    with contextlib.suppress(Exception):
        from rafiki_cli.target import options

        return [(f.stem, "") for f in sorted(options.stack_folder().logs.glob("*.log"))]
    return []


def tasks() -> Values:
    """The tasks with a format of their own, those of other packages too."""
    from rafiki import registries

    return [(name, "") for name in registries.TASKS.names()]


def templates() -> Values:
    """The model templates that come with Rafiki."""
    with contextlib.suppress(Exception):
        from rafiki_cli.scaffold.catalogue import list_templates

        return [(t.name, t.task) for t in list_templates()]
    return []


def schemes() -> Values:
    """Search schemes, those of other packages too."""
    from rafiki import registries

    return [("auto", "by the knobs"), *((name, "") for name in registries.SCHEMES.names())]


def rules() -> Values:
    """Stopping rules, those of other packages too."""
    from rafiki import registries

    return [("auto", "by the scheme"), *((name, "") for name in registries.RULES.names())]


def settings() -> Values:
    """The settings of rafiki.yaml."""
    import msgspec

    from rafiki.settings import Config

    found: Values = []
    for section in msgspec.structs.fields(Config):
        for setting in msgspec.structs.fields(section.type):
            found.append((f"{section.name}.{setting.name}", f"default {setting.default}"))
    return found


def setting_values(ctx: typer.Context) -> Values:
    """What the setting that the command names may be, where that is one of a few names."""
    if ctx.params.get("key") != "container.backend":
        return []
    from rafiki import registries

    return [(name, "") for name in registries.CONTAINERS.names()]


BY_NAME: dict[str, Callable[[typer.Context], Values]] = {
    "app": lambda _: apps(),
    "version": versions,
    "dataset": lambda _: datasets(),
    "model": lambda _: models(),
    "trial": lambda _: apps(),
    "task": lambda _: tasks(),
    "template": lambda _: templates(),
    "context": lambda _: contexts(),
}
"""What completes a parameter of that name, in every command that names no completer of its own for it."""
