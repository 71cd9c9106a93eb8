"""Which tests go together to one worker of xdist, and which of them go first.

A file goes to one worker whole: what its tests share (a stack, a served model for each task) is made once. Files whose
tests take seconds each, and share little, are dealt out test by test. What takes long is begun first, so that quick
tests fill the end.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

SPREAD = (
    "tests/acceptance/test_survival.py",
    "tests/acceptance/test_chaos.py",
    "tests/acceptance/test_job_specs.py",
    "tests/examples/test_example_scripts.py",
    "tests/admin/test_watching.py",
)
"""Dealt out test by test."""

HOSTILE = (
    "tests/admin/test_bad_trials.py",
    "tests/admin/test_bad_models.py",
    "tests/admin/test_bad_datasets.py",
    "tests/admin/test_bad_queries.py",
)
"""They share the stack that gets nothing but bad input."""

SWARM = (
    "tests/acceptance/test_swarm.py",
    "tests/acceptance/test_outside_servers.py",
)
"""They share a pair of Docker hosts."""

SWARM_TOO = (
    "tests/contract/test_container.py",
    "tests/acceptance/test_in_containers.py",
    "tests/acceptance/test_swarm_packages.py",
    "tests/container/test_swarm_images.py",
)
"""They share another pair."""

TOGETHER = (HOSTILE, SWARM, SWARM_TOO)

LONG = (
    *SWARM,
    *SWARM_TOO,
    "tests/acceptance/test_results.py",
    "tests/acceptance/test_clean_room.py",
    "tests/acceptance/test_search_schemes.py",
    *HOSTILE,
    "tests/acceptance/test_wrong_inputs.py",
    *SPREAD,
    "tests/cli/test_cli_examples.py",
    "tests/cli/test_cli_init.py",
    "tests/acceptance/test_raw_files.py",
    "tests/acceptance/test_updates.py",
    "tests/acceptance/test_fuzz.py",
    "tests/test_docs_pages.py",
    "tests/test_docs_screens.py",
    "tests/acceptance/test_dependencies.py",
    "tests/acceptance/test_tasks.py",
    "tests/acceptance/test_export.py",
    "tests/cli/test_cli_model_test.py",
    "tests/acceptance/test_new_user.py",
    "tests/client/test_client_interface.py",
    "tests/environments/test_environment_store.py",
)
"""Begun first, in this order; then the rest of `tests/acceptance` and `tests/admin`, then all others."""

_FOLDERS = ("tests/acceptance/", "tests/admin/", "tests/contract/", "tests/cli/")


class ByNeed(LoadScopeScheduling):
    """Deals out files, and the tests of :data:`SPREAD` one by one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in SPREAD:
            return nodeid
        return next((together[0] for together in TOGETHER if file in together), file)


def rank(item: pytest.Item) -> int:
    """Where a test stands in the order; tests of the same rank keep theirs."""
    file = item.nodeid.partition("::")[0]
    if file in LONG:
        return LONG.index(file)
    return len(LONG) + next((i for i, f in enumerate(_FOLDERS) if file.startswith(f)), len(_FOLDERS))
