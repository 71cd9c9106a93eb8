"""People and finished work in the shared stack. They are made once; tests change nothing of what is here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http.raw_http import Caller, superadmin_of
from support.stacks.admin_people import Finished, Hostile, People
from support.stacks.running_stack import RunningStack


@pytest.fixture(scope="session")
def people(stack: RunningStack) -> People:
    superadmin = superadmin_of(stack)
    users = [superadmin.make_user(kind) for kind in ("ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER")]
    return People(superadmin, *users, Caller(stack.port))


def finish_a_job(owner: Caller, n_trials: int) -> Finished:
    model_id, dataset_id = owner.upload_model(), owner.upload_dataset()
    app = owner.run_job(model_id=model_id, dataset_id=dataset_id, budget={"MODEL_TRIAL_COUNT": n_trials})
    return Finished(owner, app, dataset_id, model_id, [t["id"] for t in owner.trials(app)])


@pytest.fixture(scope="session")
def finished(people: People) -> Finished:
    return finish_a_job(people.superadmin.make_user("MODEL_DEVELOPER"), 3)


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    """Whatever the tests send to it: in the end it works, and nothing unexpected is in its logs."""
    stack = RunningStack(
        tmp_path_factory.mktemp("hostile"),
        {
            "admin": {"model_load_timeout_s": 4.0, "max_model_file_mb": 1, "max_dataset_mb": 8},
            "predictor": {"max_body_mb": 1, "max_waiting": 64},
        },
    )
    stack.up()
    root = superadmin_of(stack)
    mine = finish_a_job(root.make_user("MODEL_DEVELOPER"), 1)
    theirs = finish_a_job(root.make_user("MODEL_DEVELOPER"), 1)
    yield Hostile(
        stack, root, mine.owner, theirs.owner, mine.dataset_id, mine.model_id, mine.app, mine.trial_ids[0],
        theirs.dataset_id, theirs.model_id, theirs.app, theirs.trial_ids[0],
    )  # fmt: skip
    try:
        mine.owner.run_job(model_id=mine.model_id, dataset_id=mine.dataset_id)
        for log in stack.log.parent.glob("*.log"):
            assert "unexpected:" not in log.read_text(errors="replace"), log.read_text(errors="replace")[-5000:]
    finally:
        stack.down()
