"""The tables of metrics, from their declarations."""

from __future__ import annotations

from collections.abc import Sequence

from docs._generate.markdown import code, plain, table
from rafiki.contract.metrics import ADMIN_METRICS, PREDICTOR_METRICS, PROCESS_METRICS, Metric


def admin_table() -> str:
    return _table(ADMIN_METRICS)


def predictor_table() -> str:
    return _table(PREDICTOR_METRICS)


def process_table() -> str:
    return _table(PROCESS_METRICS)


def _table(metrics: Sequence[Metric]) -> str:
    rows = [(code(m.sample_name), m.kind, ", ".join(map(code, m.labels)), plain(m.help)) for m in metrics]
    return table(["metric", "kind", "labels", "what it tells"], rows)
