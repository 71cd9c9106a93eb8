"""A stack with people of every role, each with all that a call may be about; and the calls that they make, kept."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from fuzz.document import check_answer
from support.data.wheels import make_wheel, pip_variables
from support.http.raw_http import TASK, Caller, superadmin_of, unique
from support.oidc.provider import ProviderProcess, write_secret
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.contract.all import ENDPOINTS
from rafiki.contract.endpoint import CALL_TIMEOUT_S

PASSWORD = "a password"
NOBODY_LISTENS = "http://127.0.0.1:9/"
SOURCE = (MODELS / "tiny.py").read_bytes()
ROLES = ("MODEL_DEVELOPER", "APP_DEVELOPER", "ADMIN", "SUPERADMIN")
OF_OWNERS = ("get_model", "get_model_file", "check_model", "delete_model")
"""Who may upload no model owns none: to an app developer all models of others are none, for these calls."""
NEVER_BY_APP_DEVELOPERS = (*OF_OWNERS, "get_export")
"""An export has the files of models, too."""
_FIRST_BYTES = 1 << 20


class Person:
    """Somebody of a role, what is theirs by the names of the fields that mean it, and what they were answered."""

    def __init__(self, role: str, caller: Caller, most_s: float | None) -> None:
        """
        Args:
            most_s: how long an answer may take of a call that waits for nothing; None = as long as a client waits.
        """
        self.role, self.caller, self._most_s = role, caller, most_s
        self.fields: dict[str, Any] = {}
        self.answered: Counter[tuple[str, int]] = Counter()

    def call(self, name: str, /, *, read_to_end: bool = False, **parts: Any) -> httpx.Response:
        """Make a call with its fields, and look whether the document describes the answer.

        Args:
            read_to_end: of a stream; else its first event is read.
            parts: fields by name; those whose names begin with ``raw_`` are arguments of httpx.
        """
        e = ENDPOINTS[name]
        raw = {key.removeprefix("raw_"): parts.pop(key) for key in list(parts) if key.startswith("raw_")}
        path = e.path
        for field in e.path_fields:
            path = path.replace(f"{{{field}}}", quote(str(parts.pop(field)), safe="") or "%20")
        if e.method == "GET":
            raw.setdefault("params", parts)
        elif e.is_form:
            raw.setdefault("files", {n: parts.pop(n) for n in e.file_fields if n in parts})
            raw.setdefault("data", parts)
        elif "content" not in raw:
            raw.setdefault("json", parts)
        begin = time.monotonic()
        first = None
        with self.caller.http.stream(e.method, path, timeout=e.timeout_s, **raw) as answer:
            if answer.status_code == 200 and e.is_stream and not read_to_end:
                first = next(answer.iter_text(), "")[:_FIRST_BYTES]
            else:
                answer.read()
        took_s = time.monotonic() - begin
        if self._most_s is not None and e.timeout_s <= CALL_TIMEOUT_S and not read_to_end:
            assert took_s <= self._most_s, f"{name} took {took_s:.1f} s"
        check_answer(e.path, e.method.lower(), answer, first)
        self.answered[name, answer.status_code] += 1
        return answer

    def ok(self, name: str, /, **parts: Any) -> Any:
        answer = self.call(name, **parts)
        assert answer.status_code == 200, f"{self.role}: {name}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.headers["content-type"] == "application/json" else None

    def may(self, name: str) -> bool:
        roles = ENDPOINTS[name].roles
        return roles is None or self.role in roles

    def was_answered(self, name: str) -> set[int]:
        return {status for called, status in self.answered if called == name}


class People:
    """One stack and somebody of each role."""

    def __init__(self, folder: Path, most_s: float | None = None) -> None:
        make_wheel(folder / "wheels", "glimmer", "1.0")
        self.provider = ProviderProcess()
        write_secret(folder / "stack")
        settings = {
            "admin": {"max_dataset_mb": 2, "max_model_file_mb": 1}, "oidc": self.provider.settings(),
            "webhooks": {"allow_private_urls": True},
        }  # fmt: skip
        self.stack = RunningStack(folder / "stack", settings, pip_variables(folder / "wheels"))
        try:
            self.stack.up()
            root = superadmin_of(self.stack)
            callers = {role: root.make_user(role) for role in ROLES[:-1]} | {"SUPERADMIN": root}
            self.all = [Person(role, callers[role], most_s) for role in ROLES]
            self.nobody = Person("nobody", Caller(self.stack.port), most_s)
            self.root = self.all[-1]
            # What the app developer trains with, and whose packages it may see.
            developer = callers["MODEL_DEVELOPER"]
            self.public = developer.upload_model(access_right="PUBLIC")
            self.packed = developer.upload_model(access_right="PUBLIC", dependencies='{"glimmer": "1.0"}')
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.stack.down()
        self.provider.close()

    def new_email(self) -> str:
        """Of somebody whom nobody needs."""
        return str(self.root.caller.make_user("APP_DEVELOPER").email)

    def tour(self, me: Person) -> None:
        """Make every call that a role may make with what is right, but those that only a cluster answers."""
        f = me.fields
        self._people(me)
        f["dataset_id"] = me.ok("create_dataset", name=unique("d"), task=TASK, dataset=("d", b"data"))["id"]
        me.ok("get_datasets", task=TASK)
        me.ok("get_dataset", dataset_id=f["dataset_id"])
        self._models(me)
        self._environments(me)
        self._webhooks(me)
        f |= {"app": unique("app"), "app_version": 1}
        me.ok(
            "create_train_job", app=f["app"], task=TASK, train_dataset_id=f["dataset_id"],
            val_dataset_id=f["dataset_id"], budget={"MODEL_TRIAL_COUNT": 1}, model_ids=[self.public],
        )  # fmt: skip
        job = {"app": f["app"], "app_version": 1}
        me.ok("watch_train_job", **job)
        me.caller.wait_for_job(f["app"])
        me.ok("watch_train_job", **job, read_to_end=True)
        me.ok("get_train_jobs_by_user", user_id=me.caller.id)
        me.ok("get_train_jobs_of_app", app=f["app"])
        me.ok("get_train_job", **job)
        me.ok("stop_train_job", **job)
        f["trial_id"] = me.ok("get_trials_of_train_job", **job, type="best")[0]["id"]
        for name in ("get_trial", "get_trial_logs", "watch_trial_logs", "get_trial_parameters"):
            me.ok(name, trial_id=f["trial_id"])
        me.ok("preview_ensemble", **job)
        key = me.ok("create_key", app=f["app"], name=unique("key"))
        me.ok("get_keys", app=f["app"])
        me.ok("revoke_key", app=f["app"], key_id=key["id"])
        assert me.call("get_export", **job).status_code == (400 if me.role == "APP_DEVELOPER" else 200)
        me.ok("create_inference_job", app=f["app"])
        me.ok("get_inference_jobs_by_user", user_id=me.caller.id)
        me.ok("get_inference_jobs_of_app", app=f["app"])
        me.ok("get_running_inference_job", **job)
        me.ok("watch_inference_job", **job)
        me.ok("update_inference_job", app=f["app"], kind="canary", share=0.5)
        me.ok("get_rollouts", app=f["app"])
        me.ok("promote_inference_job", app=f["app"])
        me.ok("rollback_inference_job", app=f["app"])
        me.ok("scale_inference_job", **job, max=2)
        for name in ("get_services", "get_waits", "watch_services", "get_nodes"):
            self._if_may(me, name)
        me.ok("stop_inference_job", **job)
        self._if_may(me, "collect_garbage", apply=False)
        self._if_may(me, "stop_all_jobs")
        for name in ("get_node", "drain_node", "activate_node", "remove_node"):
            me.call(name, name="node")
        me.call("add_node", role="worker")

    def _if_may(self, me: Person, name: str, /, **parts: Any) -> Any:
        """A success, or the refusal that somebody of another role gets."""
        if me.may(name):
            return me.ok(name, **parts)
        assert me.call(name, **parts).status_code == 403, f"{name} by {me.role}"
        return None

    def _people(self, me: Person) -> None:
        me.ok("get_health")
        me.ok("get_current_user")
        email, password = me.caller.email, PASSWORD
        if me.role == "SUPERADMIN":
            password = (self.stack.root / "superadmin-password").read_text().strip()
            email = "superadmin@rafiki"
        me.ok("login", email=email, password=password)
        new = {"email": f"{unique('new')}@rafiki", "password": "another password", "user_type": "APP_DEVELOPER"}
        self._if_may(me, "create_user", **new)
        self._if_may(me, "get_users")
        victim = self.new_email()
        if me.may("create_user"):
            me.ok("set_password", email=victim, password="one more password")
        else:
            other = Person(me.role, self.root.caller.make_user(me.role), None)
            other.ok("set_password", old_password=PASSWORD, password="one more password")
            me.answered += other.answered
        self._if_may(me, "set_user_type", email=victim, user_type="MODEL_DEVELOPER")
        self._if_may(me, "ban_user", email=victim)
        self._if_may(me, "get_audit", user=me.caller.email)
        self._organisation(me)
        made = me.ok("create_api_token", name=unique("token"))
        me.ok("get_api_tokens")
        me.ok("revoke_api_token", token_id=made["id"])
        me.fields["email"] = self.new_email()

    def _organisation(self, me: Person) -> None:
        """Accounts of the provider, of somebody new each time."""
        me.ok("get_oidc")
        name = unique("ada")
        self.provider.set(person={"sub": name, "email": f"{name}@example.org", "email_verified": True})
        begun = me.ok("start_oidc_login")
        assert me.ok("finish_oidc_login", login=begun["login"])["is_pending"]
        self.provider.open(begun["url"])
        assert me.ok("finish_oidc_login", login=begun["login"])["account"] == "created"
        self._if_may(me, "set_identity", email=self.new_email(), subject=unique("bob"))

    def _models(self, me: Person) -> None:
        me.fields["model_id"] = self.public
        upload = {"task": TASK, "model_class": "Tiny", "model_file_bytes": ("tiny.py", SOURCE)}
        made = self._if_may(me, "create_model", name=unique("m"), **upload)
        me.ok("get_available_models", task=TASK)
        for name in OF_OWNERS:
            if made is None:
                assert me.call(name, model_id=self.public).status_code == 404, name
            else:
                me.ok(name, model_id=made["id"])

    def _webhooks(self, me: Person) -> None:
        made = me.ok("create_webhook", url=NOBODY_LISTENS, events=["train_job.*"])["id"]
        me.ok("get_webhooks")
        for name in ("test_webhook", "resume_webhook", "get_webhook_deliveries", "delete_webhook"):
            me.ok(name, webhook_id=made)
        self._if_may(me, "get_receivers")

    def _environments(self, me: Person) -> None:
        self._if_may(me, "create_environment", dependencies={"glimmer": "1.0"})
        found = me.ok("get_environments")
        key = me.fields["key"] = found[0]["key"]
        me.ok("watch_environment", key=key, read_to_end=True)
        me.ok("get_environment_log", key=key)
        if me.role == "ADMIN":
            eventually(lambda: me.call("remove_environment", key=key).status_code == 200, "the environment is free")
            me.ok("create_environment", dependencies={"glimmer": "1.0"})
        else:
            self._if_may(me, "remove_environment", key=key)
