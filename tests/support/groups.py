"""The three groups of the tests: what `make test` runs within minutes, what takes long (`make test-long`), and what
needs engines (`make test-engines`).

Long are whole stories on stacks of their own: the chaos and fuzz suites, the hostile model, kills on PostgreSQL, every
search scheme, every example of every help, job specs, exports, the scripts of `examples/`. Such a file or parameter
says so by ``pytest.mark.long``. A test that is long and needs engines is of the third group.

An engine is what a newcomer's machine does not have: two Docker hosts, servers of others (with TLS, or of another
version than the bundled one), machines of their own into which pip installs from an index, torch. Nobody who uses one
can forget the mark: a test has it when its file imports a module of :data:`ENGINE_MODULES`, when it asks for a fixture
of :data:`ENGINE_FIXTURES`, and when a parameter of it is marked.
"""

from __future__ import annotations

from types import ModuleType

import pytest

ENGINES = "engines"
"""The mark of the third group."""

ENGINE_FIXTURES = frozenset({"docker_hosts", "tensorboard", "torch", "wandb"})
ENGINE_MODULES = frozenset(
    {
        "support.machines.machine",
        "support.results.mlflow_server",
        "support.services.prometheus_server",
        "support.swarm.docker_hosts",
        "support.swarm.image_registry",
        "support.tls.postgres_server",
        "support.tls.redis_server",
    }
)


def mark_engines(item: pytest.Item) -> None:
    """Put a test into the third group, if it belongs there."""
    if item.get_closest_marker(ENGINES) is None and _uses_engines(item):
        item.add_marker(ENGINES)


def has_engines(item: pytest.Item) -> bool:
    return item.get_closest_marker(ENGINES) is not None


def _uses_engines(item: pytest.Item) -> bool:
    if not isinstance(item, pytest.Function):
        return False
    return bool(ENGINE_FIXTURES & set(item.fixturenames)) or _imports_engines(item.module)


def _imports_engines(module: ModuleType) -> bool:
    origins = (
        v.__name__ if isinstance(v, ModuleType) else getattr(v, "__module__", None) for v in vars(module).values()
    )
    return any(origin in ENGINE_MODULES for origin in origins)
