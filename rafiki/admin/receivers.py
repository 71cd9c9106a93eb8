"""The sections ``tracking`` and ``webhooks`` of rafiki.yaml, checked, with the files that they name read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from rafiki.config import LoadedConfig
from rafiki.errors import ConfigError
from rafiki.job_events import JobEvent, why_no_patterns
from rafiki.meta_store import NamedReceiver
from rafiki.stack_folder import StackFolder
from rafiki.trackers import TRACKERS
from rafiki.trackers.base import TrackerSettings
from rafiki.utils.certificates import CertificateError, read_authority
from rafiki.utils.paths import expand, why
from rafiki.utils.urls import mask_url, why_no_web_url
from rafiki.webhook_signature import secret_bytes

WEBHOOK = "webhook"
"""The kind of receiver that is no tracker."""
_MOST_SECRET_BYTES = 4096
_OF_TRACKERS = ["train_job.*", JobEvent.TRIAL_COMPLETED.value, JobEvent.TRIAL_FAILED.value]


class NamedHook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook that rafiki.yaml names."""

    id: str
    url: str
    events: list[str]
    key: bytes
    """What is signed with."""


def read_receivers(loaded: LoadedConfig) -> list[NamedReceiver]:
    """Who is told of everybody's jobs.

    Raises:
        ConfigError: a setting is wrong or missing, with where it stands and what to write.
    """
    found = []
    if (tracking := read_tracking(loaded)) is not None:
        at = mask_url(tracking.url) if tracking.url else str(tracking.folder)
        found.append(
            NamedReceiver(id=f"tracking-{tracking.kind}", kind=tracking.kind, url=at, events=_OF_TRACKERS)
        )  # fmt: skip
    for hook in read_hooks(loaded):
        # Some receivers know who sends by a secret part of the path.
        found.append(NamedReceiver(id=hook.id, kind=WEBHOOK, url=_origin(hook.url), events=hook.events))
    return found


def read_tracking(loaded: LoadedConfig) -> TrackerSettings | None:
    """Where results are told; None = nowhere.

    Raises:
        ConfigError: as :func:`read_receivers`.
    """
    settings = loaded.config.tracking
    if settings.kind is None:
        return None
    kind = TRACKERS.find(settings.kind)
    if kind is None:
        raise _wrong(loaded, "tracking.kind", TRACKERS.why_unknown(settings.kind))
    if settings.token is not None and settings.token_file is not None:
        raise _wrong(loaded, "tracking.token_file", "is set, and so is RAFIKI_TRACKING__TOKEN. Leave one of them out.")
    if settings.username is not None and settings.password_file is None:
        raise _wrong(loaded, "tracking.username", "wants tracking.password_file, a file that holds the password.")
    try:
        authority = None if settings.ca is None else read_authority(Path(expand(loaded.base_folder, settings.ca)))
    except (ValueError, CertificateError) as e:
        raise _wrong(loaded, "tracking.ca", f"{e}.") from e
    folder = StackFolder(loaded).root / settings.kind
    if settings.folder is not None:
        folder = Path(expand(loaded.base_folder, settings.folder))
    opened = TrackerSettings(
        kind=settings.kind, url=settings.url, experiment=settings.experiment, folder=folder,
        token=settings.token or _secret(loaded, "tracking.token_file", settings.token_file),
        username=settings.username, password=_secret(loaded, "tracking.password_file", settings.password_file),
        authority=authority, timeout_s=settings.timeout_s, is_offline=settings.offline,
    )  # fmt: skip
    if (reason := kind.check(opened)) is not None:
        raise _wrong(loaded, "tracking.kind", f"{settings.kind} {reason}")
    return opened


def read_hooks(loaded: LoadedConfig) -> list[NamedHook]:
    """The webhooks for everybody's jobs.

    Raises:
        ConfigError: as :func:`read_receivers`.
    """
    found: list[NamedHook] = []
    for hook in loaded.config.webhooks.send:
        key = "webhooks.send"
        if (reason := why_no_web_url(hook.url)) is not None:
            raise _wrong(loaded, key, f"{mask_url(hook.url)[:80]!r} {reason}.")
        if (reason := why_no_patterns(hook.events)) is not None:
            raise _wrong(loaded, key, f"events of {_origin(hook.url)}: {reason}")
        hook_id = f"webhook-{hashlib.sha256(hook.url.encode()).hexdigest()[:12]}"
        if any(h.id == hook_id for h in found):
            raise _wrong(loaded, key, f"names {_origin(hook.url)} twice. Give one entry all its events.")
        secret = _secret(loaded, f"{key}: secret_file of {_origin(hook.url)}", hook.secret_file) or ""
        try:
            found.append(NamedHook(id=hook_id, url=hook.url, events=hook.events, key=secret_bytes(secret)))
        except ValueError as e:
            raise _wrong(loaded, key, f"the secret in {hook.secret_file} cannot be used: {e}.") from e
    return found


def _origin(url: str) -> str:
    """The part of an address that nobody keeps secret."""
    return "/".join(mask_url(url).split("/")[:3])


def _wrong(loaded: LoadedConfig, key: str, reason: str) -> ConfigError:
    where = {o.key: o.origin for o in loaded.origins}
    setting = key.partition(":")[0]
    return ConfigError(f"{where.get(setting, 'default')}: {key}: {reason}")


def _secret(loaded: LoadedConfig, key: str, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        with Path(expand(loaded.base_folder, name)).open("rb") as f:
            secret = f.read(_MOST_SECRET_BYTES).decode("utf-8").strip()
    except (ValueError, OSError) as e:
        reason = why(e) if isinstance(e, OSError) else "it is no text" if isinstance(e, UnicodeError) else str(e)
        raise _wrong(loaded, key, f"{name} cannot be read: {reason}.") from e
    if not secret:
        raise _wrong(loaded, key, f"{name} is empty. Write the secret into it.")
    return secret
