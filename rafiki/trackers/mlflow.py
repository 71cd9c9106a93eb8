"""The entry of MLflow in the table of trackers."""

from __future__ import annotations

from urllib.parse import urlsplit

from rafiki.trackers.base import Tracker, TrackerKind, TrackerSettings
from rafiki.utils.urls import mask_url


def _open(settings: TrackerSettings) -> Tracker:
    from rafiki.trackers.mlflow_runs import MlflowTracker

    return MlflowTracker(settings)


def _check(settings: TrackerSettings) -> str | None:
    if settings.url is None:
        return "wants tracking.url, the address of the server: https://mlflow.example.org."
    if urlsplit(settings.url).scheme not in ("http", "https") or not urlsplit(settings.url).hostname:
        return f"{mask_url(settings.url)!r} in tracking.url is no address of a server: write https://HOST:PORT."
    if "@" in urlsplit(settings.url).netloc:
        return "wants no password in tracking.url: set tracking.username and tracking.password_file."
    return None


MLFLOW = TrackerKind(about="an MLflow server", check=_check, open=_open)
