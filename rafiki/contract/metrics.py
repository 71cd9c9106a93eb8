"""The metrics of the admin and of predictors, each declared once: what exports them and their reference bind to it."""

from __future__ import annotations

from typing import Literal

import msgspec

METRICS_PAGE = "/metrics"
TARGETS_PAGE = "/metrics/targets"
PAGES = {METRICS_PAGE: "get_metrics", TARGETS_PAGE: "get_metrics_targets"}
"""Of the admin: pages, and no calls of a client."""


class Metric(msgspec.Struct, frozen=True):
    """One family of samples, named by Prometheus' conventions."""

    name: str
    """Of a counter without its suffix ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    """What tells its samples apart. Each has few values, which nobody but the stack's users and its code choose."""

    @property
    def sample_name(self) -> str:
        """What is queried; a histogram has three, with suffixes of their own."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


# ---- of a predictor

_APP = ("app", "version")
_MEMBER = ("app", "version", "member", "model")

PREDICTOR_INFO = Metric(
    "rafiki_predictor_info", "gauge", "Always 1; the labels say what the predictor serves, and with which Rafiki.",
    ("app", "version", "inference_job", "task", "rafiki_version"),
)  # fmt: skip
PREDICTOR_READY = Metric(
    "rafiki_predictor_ready", "gauge", "Whether a query that comes now would be answered: what /readyz says.", ("app",)
)
VERSION_SHARE = Metric(
    "rafiki_predictor_version_share", "gauge", "Which part of the requests a version answers, 0 to 1.", _APP
)
SHADOW_ANSWERS = Metric(
    "rafiki_predictor_shadow_answers", "counter",
    "Answers of a shadow beside those that were given: agreed, differed, skipped (it had too many in hand).",
    (*_APP, "result"),
)  # fmt: skip
PREDICTOR_CACHE_UP = Metric(
    "rafiki_predictor_cache_up", "gauge", "Whether the cache works, through which queries reach the members.", _APP
)
REQUESTS = Metric(
    "rafiki_predictor_requests", "counter", "Requests to /predict that were answered or refused, by HTTP status.",
    ("app", "version", "code"),
)  # fmt: skip
REQUEST_DURATION = Metric(
    "rafiki_predictor_request_duration_seconds", "histogram",
    "From the beginning of a request to /predict to its answer, of those that got predictions.", _APP,
)  # fmt: skip
IN_HAND = Metric("rafiki_predictor_requests_in_progress", "gauge", "Requests that are being answered now.", _APP)
CACHED = Metric(
    "rafiki_predictor_cached_queries", "counter",
    "Queries that a version with a prediction cache answered from it (hit), or not (miss).", (*_APP, "result"),
)  # fmt: skip
QUERIES = Metric(
    "rafiki_predictor_queries", "counter", "Queries that members were asked; a request may hold several.", _APP
)
WAITING_LIMIT = Metric(
    "rafiki_predictor_waiting_queries_limit", "gauge",
    "The most that may wait, counted once for each member: one more is refused with 429 (predictor.max_waiting).", _APP,
)  # fmt: skip
WAITING = Metric("rafiki_predictor_waiting_queries", "gauge", "Queries at a member that are not answered yet.", _MEMBER)
MEMBER_WORKERS = Metric("rafiki_predictor_member_workers", "gauge", "Workers that a member has now.", _MEMBER)
MEMBER_QUERIES = Metric(
    "rafiki_predictor_member_queries", "counter",
    "What became of each query at each member: answered, failed (predict() raised an error, or the query was refused), "
    "late (not answered by the deadline), absent (there was no worker), shed (not asked, as it would have been late).",
    (*_MEMBER, "result"),
)  # fmt: skip
BATCH_QUERIES = Metric(
    "rafiki_predictor_batch_queries", "histogram", "Queries in one batch that a worker of a member predicted.", _MEMBER
)
BATCH_DURATION = Metric(
    "rafiki_predictor_batch_duration_seconds", "histogram", "How long predict() of a member took for one batch.",
    _MEMBER,
)  # fmt: skip

PREDICTOR_METRICS = (
    PREDICTOR_INFO, PREDICTOR_READY, VERSION_SHARE, SHADOW_ANSWERS, PREDICTOR_CACHE_UP, REQUESTS, REQUEST_DURATION,
    IN_HAND, CACHED, QUERIES, WAITING_LIMIT, WAITING,
    MEMBER_WORKERS, MEMBER_QUERIES, BATCH_QUERIES, BATCH_DURATION,
)  # fmt: skip

# ---- of the admin

ADMIN_INFO = Metric(
    "rafiki_admin_info", "gauge", "Always 1; the labels say which stack it is.", ("stack", "rafiki_version")
)
ADMIN_READY = Metric(
    "rafiki_admin_ready", "gauge", "Whether the admin can do its work: what /readyz says.",
)  # fmt: skip
PART_UP = Metric(
    "rafiki_part_up", "gauge", "Whether a part that all jobs need works: cache, database, supervisor.", ("part",)
)
CACHE_MEMORY = Metric("rafiki_cache_memory_bytes", "gauge", "What the cache server holds in memory.")
CALLS = Metric(
    "rafiki_admin_requests", "counter",
    "Requests to the admin, by the call (as the REST reference names it; other = none of them) and HTTP status.",
    ("call", "code"),
)  # fmt: skip
CALL_DURATION = Metric(
    "rafiki_admin_request_duration_seconds", "histogram",
    "From the beginning of a request to the admin to its answer; streams of events are left out.", ("call",),
)  # fmt: skip
LOGINS = Metric(
    "rafiki_admin_logins", "counter", "Logins: ok, or the name of the error that refused them.", ("result",)
)
JOBS = Metric("rafiki_jobs", "gauge", "Jobs of all users, by kind (train, inference) and status.", ("kind", "status"))
TRIALS = Metric("rafiki_trials", "gauge", "Trials of all jobs, by status.", ("status",))
SERVICES = Metric(
    "rafiki_services", "gauge", "Live services (workers, advisors, predictors), by type and status.",
    ("type", "status"),
)  # fmt: skip
WAITING_WORKERS = Metric("rafiki_waiting_workers", "gauge", "Workers that could not be started yet: no place is free.")
LOST_MEMBERS = Metric("rafiki_lost_members", "gauge", "Members of ensembles that do not serve any more.")
STARTS = Metric("rafiki_service_starts", "counter", "Services that were started since the admin's start.", ("type",))
RESTARTS = Metric(
    "rafiki_service_restarts", "counter", "Those of them that took the place of one that had ended.", ("type",)
)
LOOK_DURATION = Metric(
    "rafiki_supervisor_look_duration_seconds", "histogram",
    "How long a look of the supervisor took: observe, plan, act; ok or failed.", ("result",),
)  # fmt: skip
LAST_LOOK = Metric("rafiki_supervisor_last_look_timestamp_seconds", "gauge", "When the last look ended, in Unix time.")
DISK_FREE = Metric("rafiki_disk_free_bytes", "gauge", "Free on the disk of a folder of the stack.", ("folder",))
DISK_LEAST = Metric(
    "rafiki_disk_free_limit_bytes", "gauge",
    "With less, no new trial starts and uploads are refused (stack.min_free_mb).",
)  # fmt: skip

ADMIN_METRICS = (
    ADMIN_INFO, ADMIN_READY, PART_UP, CACHE_MEMORY, CALLS, CALL_DURATION, LOGINS, JOBS, TRIALS, SERVICES,
    WAITING_WORKERS, LOST_MEMBERS, STARTS, RESTARTS, LOOK_DURATION, LAST_LOOK, DISK_FREE, DISK_LEAST,
)  # fmt: skip

PROCESS_METRICS = (
    Metric("process_virtual_memory_bytes", "gauge", "Virtual memory of the process."),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory of the process."),
    Metric("process_start_time_seconds", "gauge", "When the process started, in Unix time."),
    Metric("process_cpu_seconds", "counter", "Processor time of the process."),
    Metric("process_open_fds", "gauge", "Open files and connections of the process."),
    Metric("process_max_fds", "gauge", "The most that it may have open."),
)
"""Of both, as Prometheus' own client makes them."""


def page_paths(refusal: object) -> dict[str, dict[str, object]]:
    """The pages in an OpenAPI document."""
    text = {"schema": {"type": "string"}}
    group = {
        "type": "object",
        "properties": {
            "targets": {"type": "array", "items": {"type": "string"}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["targets", "labels"],
    }
    targets = {"schema": {"type": "array", "items": group}}
    return {
        METRICS_PAGE: _path(
            METRICS_PAGE, "The metrics of the admin, for Prometheus.",
            {"text/plain": text, "application/openmetrics-text": text}, refusal,
        ),
        TARGETS_PAGE: _path(
            TARGETS_PAGE, "Where the metrics of predictors are, for Prometheus' discovery over HTTP.",
            {"application/json": targets}, refusal,
        ),
    }  # fmt: skip


def _path(page: str, summary: str, content: dict[str, object], refusal: object) -> dict[str, object]:
    responses: dict[str, object] = {"200": {"description": "OK", "content": content}, "4XX": refusal, "503": refusal}
    return {
        "get": {"operationId": PAGES[page], "summary": summary, "responses": responses, "security": [{}, {"token": []}]}
    }
