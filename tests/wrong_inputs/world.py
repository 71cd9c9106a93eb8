"""One running stack with people of every role, and a model trained and served for each task: what wrong inputs meet."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import jwt
from support.data.image_zip import image_zip
from support.data.task_files import wav
from support.http.raw_http import Caller, superadmin_of
from support.stacks.running_stack import RunningStack, eventually
from wrong_inputs.files import audio_zip, corpus_zip

MODEL_FILE = Path(__file__).with_name("majority.py")
IMAGES, TAGS, CLASSES, NUMBERS, SPEECH, CUSTOM = (
    "IMAGE_CLASSIFICATION", "POS_TAGGING", "TABULAR_CLASSIFICATION", "TABULAR_REGRESSION", "SPEECH_RECOGNITION",
    "CUSTOM",
)  # fmt: skip
TASKS: dict[str, tuple[str, bytes, Any, Any]] = {
    IMAGES: ("ImageMajority", image_zip(), [[[1, 2, 3]]], [1.0, 0.0]),
    TAGS: ("TagMajority", corpus_zip("token\ttag\nthe\t0\ncat\t1\n\\n\t0\na\t0\n"), ["a", "cat"], [0, 0]),
    CLASSES: ("ClassMajority", b"x,y\n1,a\n2,a\n3,b\n4,a\n", {"x": 2}, [0.75, 0.25]),
    NUMBERS: ("Mean", b"x,y\n1,1\n2,2\n3,6\n", {"x": 2}, 3.0),
    SPEECH: ("FirstWords", audio_zip(), base64.b64encode(wav()).decode(), "it's one"),
    CUSTOM: ("Majority", b"anything", {"any": ["thing", 1]}, {"any": ["thing", 1]}),
}
"""Task -> class in the model file, a dataset, a good query, its prediction."""
SETTINGS = {
    "admin": {"max_model_file_mb": 1, "max_dataset_mb": 8, "model_load_timeout_s": 10.0},
    "predictor": {"max_body_mb": 1, "max_waiting": 64},
}
_RECORDS = (
    "users", "datasets", "models", "model_files", "train_jobs", "sub_train_jobs", "trials", "inference_jobs",
    "served_trials",
)  # fmt: skip


class World:
    """Callers by who they are, and what exists, by the names that the requests of the table use: ``<app>``."""

    def __init__(self, folder: Path) -> None:
        self.stack = RunningStack(folder, SETTINGS)
        self.predictors: dict[str, httpx.Client] = {}
        self.callers: dict[str, Caller] = {}
        self.names: dict[str, str] = {}
        try:
            self.stack.up()
            self._make_people()
            self._make_others()
            self._make_jobs()
        except BaseException:
            self.close()
            raise

    def _make_people(self) -> None:
        root = superadmin_of(self.stack)
        self.callers = {
            "superadmin": root,
            "admin": root.make_user("ADMIN"),
            "other admin": root.make_user("ADMIN"),
            "developer": root.make_user("MODEL_DEVELOPER"),
            "other developer": root.make_user("MODEL_DEVELOPER"),
            "app developer": root.make_user("APP_DEVELOPER"),
            "banned": root.make_user("APP_DEVELOPER"),
            "nobody": Caller(self.stack.port),
        }
        root.ok("DELETE", "/users", json={"email": self.callers["banned"].email})
        self._add_bad_tokens()
        self.names = {who: c.email for who, c in self.callers.items()}
        self.names |= {f"id of {who}": c.id for who, c in self.callers.items()}
        self.names["no id"] = "00000000-0000-4000-8000-000000000000"

    def _add_bad_tokens(self) -> None:
        """People whose tokens are forged, too old, or name nobody."""
        me, future = self.callers["developer"].id, int(time.time()) + 3600
        key = str(json.loads((self.stack.root / "secrets.json").read_text())["token_key"])

        def token(key: str | None = key, algorithm: str = "HS256", **claims: Any) -> str:
            return jwt.encode({"sub": me, "exp": future, **claims}, key, algorithm)

        header, claims, signature = token().split(".")
        deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 20_000).decode().rstrip("=")
        for who, made in {
            "late": token(exp=future - 7200),
            "ghost": token(sub="00000000-0000-4000-8000-000000000000"),
            "number": token(sub=7),
            "timeless": jwt.encode({"sub": me}, key, "HS256"),
            "forger": token("x" * 64),
            "unsigned": token(None, "none"),
            "altered": f"{header}.{claims[:-2]}AA.{signature}",
            "deep": f"{deep}.{claims}.{signature}",
            "garbage": "garbage",
        }.items():
            self.callers[f"token {who}"] = Caller(self.stack.port, made)

    def _make_others(self) -> None:
        """What belongs to another developer."""
        other = self.callers["other developer"]
        source = MODEL_FILE.read_bytes()
        self.names["their dataset"] = other.upload_dataset()
        self.names["their model"] = other.send_model(source, "Majority").json()["id"]
        self.names["app developer's dataset"] = self.callers["app developer"].upload_dataset(task="LONELY")
        self.names["their app"] = other.start_job(
            model_id=self.names["their model"], dataset_id=self.names["their dataset"]
        )

    def _make_jobs(self) -> None:
        me, n = self.callers["developer"], self.names
        source = MODEL_FILE.read_bytes()
        for task, (model_class, data, _, _) in TASKS.items():
            n[f"{task} dataset"] = me.upload_dataset(task=task, data=data)
            n[f"{task} model"] = me.send_model(source, model_class, name=f"{task} model", task=task).json()["id"]
        broken = me.send_model(b"1 / 0\n", "Tiny", name="broken model", task="BROKEN").json()
        assert broken["load_error"]
        n["broken model"], n["broken dataset"] = broken["id"], me.upload_dataset(task="BROKEN")
        n["unused model"] = me.send_model(source, "Majority", name="unused model").json()["id"]
        apps = {f"{task} app": task for task in TASKS} | {"unserved app": CUSTOM, "stopped app": CUSTOM}
        for name, task in apps.items():
            n[name] = me.start_job(task=task, model_id=n[f"{task} model"], dataset_id=n[f"{task} dataset"])
        n["errored app"] = me.start_job(task="BROKEN", model_id=n["broken model"], dataset_id=n["broken dataset"])
        n["live app"] = me.start_job(
            task=CUSTOM, model_id=n["CUSTOM model"], dataset_id=n["CUSTOM dataset"], train_args={"sleep_s": 3600},
            budget={"MODEL_TRIAL_COUNT": 1, "TIME_HOURS": 1},
        )  # fmt: skip
        for name in apps:
            job = me.wait_for_job(n[name])
            assert job["status"] == "STOPPED", job
        assert me.wait_for_job(n["errored app"])["status"] == "ERRORED"
        [trial] = eventually(
            lambda: [t for t in me.trials(n["live app"]) if t["status"] == "RUNNING"], "a trial of the live app"
        )
        n["live trial"] = trial["id"]
        n["trial"] = me.trials(n["unserved app"])[0]["id"]
        other = self.callers["other developer"]
        other.wait_for_job(n["their app"])
        n["their trial"] = other.trials(n["their app"])[0]["id"]
        self._serve([*TASKS, "stopped"])
        me.ok("POST", f"/inference_jobs/{n['stopped app']}/-1/stop")

    def _serve(self, names: list[str]) -> None:
        me = self.callers["developer"]

        def serve(name: str) -> tuple[str, str]:
            return name, me.ok("POST", "/inference_jobs", json={"app": self.names[f"{name} app"]})["predictor_host"]

        with ThreadPoolExecutor(4) as pool:
            for name, host in pool.map(serve, names):
                self.predictors[name] = httpx.Client(base_url=f"http://{host}", timeout=60, trust_env=False)
        for task in TASKS:
            self.ask(task)

    # ---- what is asked after each wrong input

    def ask(self, task: str) -> None:
        """The good query of a task, which has to get its prediction."""
        _, _, query, prediction = TASKS[task]
        answer = self.predictors[task].post("/predict", json={"query": query})
        assert (answer.status_code, answer.json()) == (200, {"prediction": prediction, "predictions": []}), answer.text

    def state(self) -> dict[str, str]:
        """All records of users, datasets, models, jobs and trials, and all files of the stores; as digests."""
        found = {}
        with closing(sqlite3.connect(f"file:{self.stack.root / 'meta.db'}?mode=ro", uri=True)) as database:
            for table in _RECORDS:
                rows = database.execute(f"SELECT * FROM {table}").fetchall()
                found[table] = f"{len(rows)} rows, {hashlib.sha256(repr(sorted(map(repr, rows))).encode()).hexdigest()}"
        for folder in ("datasets", "params"):
            found[folder] = str(sorted(p.name for p in (self.stack.root / folder).rglob("*")))
        return found

    def close(self) -> None:
        for client in self.predictors.values():
            client.close()
        self.stack.down()
