"""People and finished work in the shared stack. They are made once; tests change nothing of what is here."""

from __future__ import annotations

import pytest
from admin_people import Finished, People
from raw_http import Caller, superadmin_of
from running_stack import RunningStack


@pytest.fixture(scope="session")
def people(stack: RunningStack) -> People:
    superadmin = superadmin_of(stack)
    users = [superadmin.make_user(kind) for kind in ("ADMIN", "MODEL_DEVELOPER", "APP_DEVELOPER")]
    return People(superadmin, *users, Caller(stack.port))


@pytest.fixture(scope="session")
def finished(people: People) -> Finished:
    owner = people.superadmin.make_user("MODEL_DEVELOPER")
    model_id, dataset_id = owner.upload_model(), owner.upload_dataset()
    app = owner.run_job(model_id=model_id, dataset_id=dataset_id, budget={"MODEL_TRIAL_COUNT": 3})
    return Finished(owner, app, dataset_id, model_id, [t["id"] for t in owner.trials(app)])
