from __future__ import annotations

from typing import Any

import pytest
from support.http.raw_http import Caller, unique
from support.stacks.admin_people import People

ON_AND_ON = {"TIME_HOURS": 1, "MODEL_TRIAL_COUNT": -1}


def served(owner: Caller) -> str:
    """The app of a running deployment."""
    app = owner.run_job()
    owner.ok("POST", "/inference_jobs", json={"app": app})
    return app


def inference_jobs(admin: Caller, user: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.ok("GET", "/inference_jobs", params={"user_id": user.id})
    return found


def train_jobs(admin: Caller, user: Caller) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin.ok("GET", "/train_jobs", params={"user_id": user.id})
    return found


# ---- roles


@pytest.mark.parametrize(
    ("who", "before", "after", "is_allowed"),
    [
        ("superadmin", "APP_DEVELOPER", "ADMIN", True),
        ("superadmin", "ADMIN", "MODEL_DEVELOPER", True),
        ("superadmin", "ADMIN", "SUPERADMIN", False),
        ("admin", "APP_DEVELOPER", "MODEL_DEVELOPER", True),
        ("admin", "MODEL_DEVELOPER", "APP_DEVELOPER", True),
        ("admin", "APP_DEVELOPER", "ADMIN", False),
        ("admin", "ADMIN", "APP_DEVELOPER", False),
        ("model_developer", "APP_DEVELOPER", "MODEL_DEVELOPER", False),
    ],
)
def test_admins_change_roles_and_only_the_superadmin_those_of_admins(
    people: People, who: str, before: str, after: str, is_allowed: bool
) -> None:
    user = people.superadmin.make_user(before)
    body = {"email": user.email.upper(), "user_type": after}
    if is_allowed:
        changed = getattr(people, who).ok("POST", "/users/type", json=body)
        assert (changed["id"], changed["user_type"]) == (user.id, after)
    else:
        getattr(people, who).refused("UnauthorizedError", "POST", "/users/type", json=body)
    assert user.ok("GET", "/users/me")["user_type"] == (after if is_allowed else before)


def test_a_new_role_counts_from_the_next_call_on(people: People) -> None:
    user = people.superadmin.make_user("APP_DEVELOPER")
    user.refused("UnauthorizedError", "GET", "/users")
    people.superadmin.ok("POST", "/users/type", json={"email": user.email, "user_type": "ADMIN"})
    user.ok("GET", "/users")
    people.superadmin.ok("POST", "/users/type", json={"email": user.email, "user_type": "APP_DEVELOPER"})
    user.refused("UnauthorizedError", "GET", "/users")


def test_nobody_changes_their_own_role_nor_that_of_the_superadmin(people: People) -> None:
    own = {"email": people.admin.email, "user_type": "APP_DEVELOPER"}
    assert "your own" in people.admin.refused("UnauthorizedError", "POST", "/users/type", json=own)
    root = {"email": "superadmin@rafiki", "user_type": "ADMIN"}
    people.superadmin.refused("UnauthorizedError", "POST", "/users/type", json=root)
    people.admin.refused("UnauthorizedError", "POST", "/users/type", json=root)
    people.admin.refused("InvalidUserError", "POST", "/users/type", json={**own, "email": "no@body"})


# ---- stopping what others run


def test_admins_stop_the_jobs_of_others(people: People) -> None:
    me = people.superadmin.make_user("MODEL_DEVELOPER")
    app = me.start_job(budget=ON_AND_ON)
    people.app_developer.refused("InvalidTrainJobError", "POST", f"/train_jobs/{app}/-1/stop")
    body = {"user_id": me.id}
    people.model_developer.refused("InvalidTrainJobError", "POST", f"/train_jobs/{app}/-1/stop", json=body)
    assert me.job(app)["status"] in ("STARTED", "RUNNING")
    assert people.admin.ok("POST", f"/train_jobs/{app}/-1/stop")["id"] == me.job(app)["id"]
    assert me.job(app)["status"] == "STOPPED"
    # None is live any more: as where there is no such job.
    people.admin.refused("InvalidTrainJobError", "POST", f"/train_jobs/{app}/-1/stop")


def test_admins_stop_the_deployments_of_others(people: People) -> None:
    me = people.superadmin.make_user("MODEL_DEVELOPER")
    app = served(me)
    people.app_developer.refused("InvalidTrainJobError", "POST", f"/inference_jobs/{app}/-1/stop")
    people.admin.ok("POST", f"/inference_jobs/{app}/1/stop")
    me.refused("InvalidRunningInferenceJobError", "GET", f"/inference_jobs/{app}/-1")


def test_where_several_users_have_the_app_the_admin_says_whose(people: People) -> None:
    app = unique("shared")
    one, two = (people.superadmin.make_user("MODEL_DEVELOPER") for _ in range(2))
    for user in (one, two):
        user.start_job(app=app, budget=ON_AND_ON)
    assert "2 users" in people.admin.refused("InvalidTrainJobError", "POST", f"/train_jobs/{app}/-1/stop")
    people.admin.ok("POST", f"/train_jobs/{app}/-1/stop", json={"user_id": one.id})
    assert (one.job(app)["status"], two.job(app)["status"] in ("STARTED", "RUNNING")) == ("STOPPED", True)
    people.admin.refused("InvalidUserError", "POST", f"/train_jobs/{app}/-1/stop", json={"user_id": "nobody"})
    people.admin.ok("POST", f"/train_jobs/{app}/1/stop")
    assert two.job(app)["status"] == "STOPPED"


def test_an_admin_who_has_the_app_stops_nobody_elses_by_mistake(people: People) -> None:
    admin, other = people.superadmin.make_user("ADMIN"), people.superadmin.make_user("MODEL_DEVELOPER")
    app = admin.run_job()
    other.start_job(app=app, budget=ON_AND_ON)
    admin.ok("POST", f"/train_jobs/{app}/-1/stop")
    admin.refused("InvalidRunningInferenceJobError", "POST", f"/inference_jobs/{app}/-1/stop")
    assert other.job(app)["status"] in ("STARTED", "RUNNING")
    other.ok("POST", f"/train_jobs/{app}/-1/stop")


# ---- bans


def test_a_ban_ends_jobs_and_deployments(people: People) -> None:
    victim = people.superadmin.make_user("MODEL_DEVELOPER")
    served(victim)
    victim.start_job(budget=ON_AND_ON)
    people.admin.ok("DELETE", "/users", json={"email": victim.email})
    assert {j["status"] for j in train_jobs(people.admin, victim)} == {"STOPPED"}
    assert {j["status"] for j in inference_jobs(people.admin, victim)} == {"STOPPED"}


def test_what_is_handed_over_goes_on_in_the_name_of_the_heir(people: People) -> None:
    victim, heir = (people.superadmin.make_user("MODEL_DEVELOPER") for _ in range(2))
    app = served(victim)
    training = victim.start_job(budget=ON_AND_ON)
    [model, *_] = [m for m in victim.ok("GET", "/models/available") if m["user_id"] == victim.id]
    dataset_ids = {d["id"] for d in victim.ok("GET", "/datasets")}
    body = {"email": victim.email, "hand_over_to": heir.email}
    assert people.admin.ok("DELETE", "/users", json=body)["banned_date"] is not None
    assert heir.ok("GET", f"/inference_jobs/{app}/-1")["status"] == "RUNNING"
    assert heir.job(training)["status"] in ("STARTED", "RUNNING")
    assert model["id"] in [m["id"] for m in heir.ok("GET", "/models/available")]
    assert {d["id"] for d in heir.ok("GET", "/datasets")} == dataset_ids
    assert train_jobs(people.admin, victim) == inference_jobs(people.admin, victim) == []
    heir.ok("POST", f"/train_jobs/{training}/-1/stop")
    heir.ok("POST", f"/inference_jobs/{app}/-1/stop")
    told = people.admin.ok("GET", "/audit", params={"action": "user.ban", "count": 1})
    assert told[0]["subject"] == {"email": victim.email, "hand_over_to": heir.email, "id": victim.id}


def test_an_heir_with_an_app_of_the_same_name_is_refused_and_nobody_banned(people: People) -> None:
    victim, heir = (people.superadmin.make_user("MODEL_DEVELOPER") for _ in range(2))
    app = victim.run_job()
    heir.run_job(app=app)
    body = {"email": victim.email, "hand_over_to": heir.email}
    assert f"the app(s) {app}" in people.admin.refused("InvalidRequestError", "DELETE", "/users", json=body)
    assert victim.ok("GET", "/users/me")["banned_date"] is None
    assert victim.job(app)["status"] == "STOPPED"


@pytest.mark.parametrize("heir", ["no@body", "themselves", "banned"])
def test_an_heir_has_to_be_another_user_who_is_not_banned(people: People, heir: str) -> None:
    victim, banned = (people.superadmin.make_user("MODEL_DEVELOPER") for _ in range(2))
    people.admin.ok("DELETE", "/users", json={"email": banned.email})
    email = {"themselves": victim.email, "banned": banned.email}.get(heir, heir)
    error = "InvalidUserError" if heir == "no@body" else "InvalidRequestError"
    body = {"email": victim.email, "hand_over_to": email}
    assert "hand_over_to" in people.admin.refused(error, "DELETE", "/users", json=body)
    assert victim.ok("GET", "/users/me")["banned_date"] is None
