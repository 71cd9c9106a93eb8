"""What arguments and options may be, for the completion of shells.

Each function gives the values of one kind with a word about each. It may ask the server: within a second, with the
login that is kept, and silently nothing when that fails. Answers are kept for a few seconds, because people press the
key again.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import typer

from rafiki.constants import InferenceJobStatus

if TYPE_CHECKING:
    from rafiki.contract.endpoint import Answer, Endpoint, Request
    from rafiki.contract.inference_jobs import InferenceJobView
    from rafiki.contract.train_jobs import TrainJobView, TrialView
    from rafiki_cli.application import Application
    from rafiki_cli.target.session import Target

TIMEOUT_S = 0.9
"""How long the server may take: a person waits for it at the prompt."""
FRESH_S = 8.0
"""How long an answer is used again."""
Values = list[tuple[str, str]]
"""The values with a word about each, which may be empty."""


def _ask(ctx: typer.Context, endpoint: Endpoint[Request, list[Answer]], request: Request) -> list[Answer]:
    """The answer of the server to a call that lists something; nothing when there is none in time."""
    with contextlib.suppress(Exception):  # A prompt is no place for errors: the command itself will tell them.
        import msgspec

        from rafiki.user_environment import token_from_environment
        from rafiki_cli.target import session

        cli: Application = ctx.find_root().obj
        admin = cli.target()
        login = session.find_login(admin.address, admin.stack_id)
        given = token_from_environment()
        session.refuse_to_send(given or "", admin)
        token = given or (login["token"] if login else None)
        if token:
            cli.has_told_target = True
            session.reach_target(cli)
            path = endpoint.path.format(**{n: quote(str(getattr(request, n)), safe="") for n in endpoint.path_fields})
            if query := _query(endpoint, request):
                path = f"{path}?{query}"
            answer: list[Answer] = msgspec.json.decode(_cached(admin, token, path), type=endpoint.response)
            return answer
    return []


def _query(endpoint: Endpoint[Request, list[Answer]], request: Request) -> str:
    """What else than the path the request says; what is as by default is left out."""
    import msgspec

    values: list[tuple[str, str]] = []
    for field in msgspec.structs.fields(type(request)):
        value = getattr(request, field.name)
        if field.name not in endpoint.path_fields and value is not None and value != field.default:
            values.append((field.encode_name, str(value).lower() if isinstance(value, bool) else str(value)))
    return urlencode(values)


def _cached(admin: Target, token: str, path: str) -> bytes:
    import hashlib
    import json

    from rafiki.user_environment import user_cache_folder
    from rafiki.utils.files import write_private

    key = json.dumps([admin.address, token, path])
    file = user_cache_folder() / "completion" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
    with contextlib.suppress(OSError):
        if 0 <= time.time() - file.stat().st_mtime < FRESH_S:
            return file.read_bytes()
    found = _get(admin, token, path)
    with contextlib.suppress(OSError):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _clean(file.parent)
        write_private(file, found.decode("utf-8"))
    return found


def _clean(folder: Path) -> None:
    """Remove old answers."""
    for old in folder.glob("*.json"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > 60 * FRESH_S:
                old.unlink()


def _get(admin: Target, token: str, path: str) -> bytes:
    """The answer to one GET; an empty list when there is none."""
    import threading

    from rafiki.client.plain_http import PlainHttp
    from rafiki.contract.http_headers import STACK_HEADER

    server = PlainHttp(admin.host, admin.port, connect_timeout_s=TIMEOUT_S, trust=admin.trust)
    headers = {"Authorization": f"Bearer {token}"}
    if admin.stack_id is not None:
        headers[STACK_HEADER] = admin.stack_id
    found: list[bytes] = []

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):
            status, body, _ = server.request("GET", path, body=None, headers=headers, timeout_s=TIMEOUT_S)
            if status == 200:
                found.append(body)

    # The socket's time-out counts anew with each byte, so that a slow answer needs a deadline of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(TIMEOUT_S)
    return found[0] if found else b"[]"


def _distinct(values: Iterable[tuple[str, str]]) -> Values:
    """The first of each value: lists come newest first."""
    found: dict[str, str] = {}
    for value, about in values:
        found.setdefault(value, about)
    return list(found.items())


# ---- names that the server knows -----------------------------------------------------------------------------------


def apps(ctx: typer.Context) -> Values:
    """Apps with a train job."""
    return _distinct((j.app, _state(j)) for j in _train_jobs(ctx))


def _state(job: TrainJobView | InferenceJobView) -> str:
    return f"version {job.app_version}, {_shown_status(job)}"


def _shown_status(job: TrainJobView | InferenceJobView) -> str:
    from rafiki.contract.train_jobs import TrainJobView
    from rafiki.states import find_outcome

    ended = find_outcome(job.status, job.datetime_stop_requested) if isinstance(job, TrainJobView) else None
    return str(ended or job.status).lower()


def _train_jobs(ctx: typer.Context) -> list[TrainJobView]:
    from rafiki.contract.train_jobs import GET_TRAIN_JOBS_BY_USER, ListTrainJobsRequest

    return _ask(ctx, GET_TRAIN_JOBS_BY_USER, ListTrainJobsRequest())


def served_apps(ctx: typer.Context) -> Values:
    """Apps that are deployed; when there are none, every app."""
    from rafiki.contract.inference_jobs import GET_INFERENCE_JOBS_BY_USER, ListInferenceJobsRequest

    rows = _ask(ctx, GET_INFERENCE_JOBS_BY_USER, ListInferenceJobsRequest())
    live = (InferenceJobStatus.STARTED, InferenceJobStatus.RUNNING)
    return _distinct((j.app, _state(j)) for j in rows if j.status in live) or apps(ctx)


def versions(ctx: typer.Context) -> Values:
    """The versions of the app that the command names."""
    app = ctx.params.get("app") or ctx.params.get("trial")
    return [(str(j.app_version), _shown_status(j)) for j in _train_jobs(ctx) if j.app == app]


def datasets(ctx: typer.Context) -> Values:
    """Datasets by name."""
    from rafiki.contract.datasets import GET_DATASETS, ListDatasetsRequest

    return _distinct((d.name, d.task) for d in _ask(ctx, GET_DATASETS, ListDatasetsRequest()))


def models(ctx: typer.Context) -> Values:
    """Models by name, and by name and version where there are several."""
    from rafiki.contract.models import GET_AVAILABLE_MODELS, ListModelsRequest

    rows = _ask(ctx, GET_AVAILABLE_MODELS, ListModelsRequest(all_versions=True))
    several = {m.name for m in rows if m.version > 1}
    versions = sorted((m for m in rows if m.name in several), key=lambda m: (m.name, -m.version))
    return _distinct([*((m.name, m.task) for m in rows), *((m.ref, m.task) for m in versions)])


def trials(ctx: typer.Context) -> Values:
    """The trials of the app that the command names, as ``MODEL#N``."""
    from rafiki.contract.train_jobs import GET_TRIALS_OF_TRAIN_JOB, ListTrialsRequest

    app = ctx.params.get("trial") or ctx.params.get("app")
    if not app:
        return []
    request = ListTrialsRequest(app=app, app_version=ctx.params.get("version") or -1)
    return [(t.label, _score(t)) for t in _ask(ctx, GET_TRIALS_OF_TRAIN_JOB, request)]


def _score(trial: TrialView) -> str:
    return f"{trial.score:.4f}" if trial.score is not None else trial.status.lower()


def users(ctx: typer.Context) -> Values:
    """Users that are not banned, by email; for admins."""
    from rafiki.contract.endpoint import Empty
    from rafiki.contract.users import GET_USERS

    return [(u.email, u.user_type) for u in _ask(ctx, GET_USERS, Empty()) if not u.banned_date]


def tokens(ctx: typer.Context) -> Values:
    """API tokens by name."""
    from rafiki.contract.api_tokens import GET_API_TOKENS
    from rafiki.contract.endpoint import Empty

    return _distinct((t.name, f"until {t.datetime_expires:%Y-%m-%d}") for t in _ask(ctx, GET_API_TOKENS, Empty()))


def webhooks(ctx: typer.Context) -> Values:
    """Webhooks by id."""
    from rafiki.contract.endpoint import Empty
    from rafiki.contract.webhooks import GET_WEBHOOKS

    return _distinct((w.id, w.url) for w in _ask(ctx, GET_WEBHOOKS, Empty()))


def events(ctx: typer.Context) -> Values:
    """Events of jobs, and patterns that choose among them."""
    from rafiki.job_events import OFFERED, patterns_of

    return _distinct((pattern, "") for event in OFFERED for pattern in patterns_of(event))


def environments(ctx: typer.Context) -> Values:
    """Environments by key."""
    from rafiki.contract.endpoint import Empty
    from rafiki.contract.environments import GET_ENVIRONMENTS

    return _distinct((e.key, ", ".join(e.requirements)) for e in _ask(ctx, GET_ENVIRONMENTS, Empty()))


def nodes(ctx: typer.Context) -> Values:
    """Nodes by name."""
    from rafiki.contract.endpoint import Empty
    from rafiki.contract.nodes import GET_NODES

    return _distinct((n.name, n.state.lower()) for n in _ask(ctx, GET_NODES, Empty()))


def help_words(ctx: typer.Context) -> Values:
    """The commands below the words of ``rafiki help`` that are there, and its pages."""
    from rafiki_cli.commands.help import TOPICS
    from rafiki_cli.main import RafikiGroup

    words = ctx.params.get("words") or ()
    if not words:
        return [*RafikiGroup.help_texts().items(), *TOPICS.items()]
    app = importlib.import_module(RafikiGroup.modules()[words[0]]).app
    return [(name, "") for name in app.commands if words[0] not in app.commands] if len(words) == 1 else []


# ---- names that this machine knows ---------------------------------------------------------------------------------


def contexts() -> Values:
    """Contexts."""
    from rafiki_cli.target import contexts

    found: Values = [(contexts.LOCAL, "the stack of this folder")]
    with contextlib.suppress(Exception):
        found += contexts.read_contexts().hosts.items()
    return found


def logs(ctx: typer.Context) -> Values:
    """The logs of the stack of this folder; after the first words of a name, what may follow them."""
    with contextlib.suppress(Exception):
        from rafiki_cli.target.logs import list_logs

        cli: Application = ctx.find_root().obj
        begun = "".join(f"{word} " for word in ctx.params.get("service") or ())
        names = [log.name for log in list_logs(cli.stack_folder().logs)]
        return _distinct((name.removeprefix(begun), "") for name in names if name.startswith(begun))
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
    "app": apps,
    "version": versions,
    "dataset": datasets,
    "model": models,
    "trial": apps,
    "task": lambda _: tasks(),
    "template": lambda _: templates(),
    "context": lambda _: contexts(),
}
"""What completes a parameter of that name, in every command that names no completer of its own for it."""
