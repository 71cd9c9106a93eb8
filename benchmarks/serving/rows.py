"""The rows of the table: what is measured of each server."""

from __future__ import annotations

import msgspec

from benchmarks.datasets import Queries, image_queries, number_queries


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table."""

    name: str
    title: str
    unit: str
    model: str = ""
    """Of a load: ``tree``, ``images`` or ``forest``; empty for what is measured otherwise."""
    n_clients: int = 0
    is_more_better: bool = False


ROWS = (
    Row(name="tree_1", title="tree, 64 numbers, 1 client: p50", unit="ms", model="tree", n_clients=1),
    Row(
        name="tree_32", title="tree, 64 numbers, 32 clients", unit="requests/s", model="tree", n_clients=32,
        is_more_better=True,
    ),
    Row(
        name="images_32", title="tree, 32x32x3 as JSON, 32 clients", unit="requests/s", model="images", n_clients=32,
        is_more_better=True,
    ),
    Row(
        name="forest_8", title="100-tree forest, 8 clients", unit="requests/s", model="forest", n_clients=8,
        is_more_better=True,
    ),
    Row(
        name="forest_32", title="100-tree forest, 32 clients", unit="requests/s", model="forest", n_clients=32,
        is_more_better=True,
    ),
    Row(
        name="ensemble_32", title="two trees as an ensemble, 32 clients", unit="requests/s", model="ensemble",
        n_clients=32, is_more_better=True,
    ),
    Row(name="memory_front", title="memory (PSS) in front of the model, after the load", unit="MB"),
    Row(name="memory_all", title="... of all that runs, the model included", unit="MB"),
    Row(name="kill_failed", title="model process killed under load: failed requests", unit=""),
    Row(name="kill_s", title="... longest time without an answer", unit="s"),
)  # fmt: skip
BY_NAME = {row.name: row for row in ROWS}
MODELS = ("tree", "images", "forest")
"""That every server serves."""
ENSEMBLE = "ensemble"
"""Two members that answer together: Rafiki's own."""


def queries_of(model: str) -> Queries:
    return image_queries() if model == "images" else number_queries()


def loads_of(model: str) -> list[Row]:
    """The loads on a server of that model."""
    return [row for row in ROWS if row.model == model]
