"""Metrics as text for Prometheus, in the format that a request asks for. Loaded by the first request for metrics: what
is never scraped pays nothing for the library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import msgspec
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as PrometheusMetric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from rafiki.contract.metrics import Metric
from rafiki.utils.bounded_histogram import BoundedHistogram

Values: TypeAlias = Sequence[str]
"""Of the labels, in their order."""


class Family(msgspec.Struct, frozen=True):
    """A metric with its samples."""

    metric: Metric
    samples: Sequence[tuple[Values, float | BoundedHistogram]]


class _Once(Collector):
    """What is exported now."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[PrometheusMetric]:
        for family in self._families:
            yield _exported(family)


def _exported(family: Family) -> PrometheusMetric:
    metric = family.metric
    if metric.kind == "histogram":
        histograms = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in family.samples:
            if isinstance(value, BoundedHistogram):
                bounds = [*map(floatToGoString, value.bounds), "+Inf"]
                buckets = list(zip(bounds, map(float, value.cumulative()), strict=True))
                histograms.add_metric(labels, buckets, value.total)
        return histograms
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    made = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in family.samples:
        if not isinstance(value, BoundedHistogram):
            made.add_metric(labels, value)
    return made


def write_metrics(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """The text of metrics, with those of this process, and its content type.

    Args:
        accept: the header of that name: Prometheus' own format, or OpenMetrics.
    """
    encode, content_type = choose_encoder(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    ProcessCollector(registry=registry)
    return encode(registry), content_type
