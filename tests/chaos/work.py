"""What people do with the stack meanwhile: jobs that always run, and deployments that are replaced now and then."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable
from typing import Any

from chaos.answers import Target
from chaos.calls import BrokenPromiseError, Caller
from chaos.ledger import Job, Ledger
from chaos.pace import Pace
from chaos.stack import ChaosStack
from support.stacks.running_stack import MODELS

from rafiki.client import Client
from rafiki.deployment import Deployment
from rafiki.utils.clock import Deadline

DEPLOYMENTS = 2
MEMBERS = 2
_SCHEMES = ("random", "bayes", "asha")
MENDS_DAMAGE = "replace_damaged" in Deployment.__struct_fields__
"""Whether the next best trial takes the place of a damaged member, and deleted doors of boxes are made again."""
_DEPLOYMENT = {"replace_damaged": True} if MENDS_DAMAGE else None
_JOB_DEADLINE_S = 240.0
_LOOK_S = 0.25
_EXPECTED_ERRORS = re.compile(r"No space is left|no space|attempts|Its worker", re.IGNORECASE)
"""Of trials: the disk was full as they saved, or they were given up after so many lost workers."""


class Work:
    """All of it. ``broken`` collects what was promised and has not been kept."""

    def __init__(
        self, stack: ChaosStack, ledger: Ledger, pace: Pace, seed: str, serve: Callable[[Target], None]
    ) -> None:
        """
        Args:
            serve: tells the clients of a deployment where to send their queries.
        """
        self._stack, self._ledger, self._seed, self._serve = stack, ledger, seed, serve
        self._pace = pace
        self._client: Client | None = None
        self._lock = threading.Lock()
        self.ending = threading.Event()
        """Nothing new is started any more."""
        self.broken: list[str] = []
        self.trial_errors: list[str] = []
        self.n_jobs = 0
        self.n_deployments = 0
        self.deployed: dict[str, str] = {}
        """Inference job by the name of its deployment, while it is asked."""
        self._fit: list[str] = []
        """Apps that may be deployed, the newest last."""
        self._threads: list[threading.Thread] = []

    def tell_wrong(self, what: str) -> None:
        with self._lock:
            self.broken.append(what)

    def client(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = self._stack.client()
            return self._client

    # ---- before the first blow

    def prepare(self) -> None:
        """Upload, train what is served first, and begin."""
        client, caller = self.client(), Caller(self.tell_wrong)
        file = self._stack.folder / "data.bin"
        file.write_bytes(b"data" * 100)
        self._dataset = client.create_dataset("data", "CUSTOM", str(file))["id"]
        self._model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
        for job in [self._create(caller, f"first-{i}", 4, 0.0, "random") for i in range(DEPLOYMENTS)]:
            self._see_end(caller, job)
        for i in range(DEPLOYMENTS):
            self._start(self._keep_deployment, i)
        for i in range(self._pace.jobs):
            self._start(self._keep_jobs, i)

    def _start(self, keep: Callable[[int, random.Random], None], no: int) -> None:
        def run() -> None:
            try:
                keep(no, random.Random(f"{self._seed}-{keep.__name__}-{no}"))
            except BrokenPromiseError as e:
                self.tell_wrong(str(e))

        self._threads.append(threading.Thread(target=run, name=f"{keep.__name__}-{no}", daemon=True))
        self._threads[-1].start()

    def finish(self, deadline_s: float) -> None:
        """Start nothing more, and wait for what was begun."""
        self.ending.set()
        deadline = Deadline(deadline_s)
        for thread in self._threads:
            thread.join(max(0.1, deadline.left_s()))
            if thread.is_alive():
                self.tell_wrong(f"{thread.name} has not ended {deadline_s:g} s after the last blow")

    # ---- jobs

    def _keep_jobs(self, slot: int, chance: random.Random) -> None:
        caller, n = Caller(self.tell_wrong), 0
        while not self.ending.is_set():
            n += 1
            trials, sleep_s = chance.randrange(*self._pace.trials), chance.uniform(*self._pace.trial_s)
            job = self._create(caller, f"job-{slot}-{n}", trials, sleep_s, chance.choice(_SCHEMES))
            self._see_end(caller, job)

    def _create(self, caller: Caller, app: str, n_trials: int, sleep_s: float, scheme: str) -> Job:
        budget = {"MODEL_TRIAL_COUNT": n_trials, "CPU_WORKER_COUNT": 2, "TIME_HOURS": 2}

        def create() -> dict[str, Any] | None:
            # An answer that was lost on its way back leaves a job.
            if (there := self.client().get_train_jobs_of_app(app)) != []:
                return there[0]
            return self.client().create_train_job(
                app, "CUSTOM", self._dataset, self._dataset, budget, [self._model],
                train_args={"sleep_s": sleep_s}, advisor=scheme,
            )  # fmt: skip

        made = caller.until(create, f"the start of {app}")
        job = Job(made["id"], app, n_trials)
        self._ledger.add(job)
        self.n_jobs += 1
        return job

    def _see_end(self, caller: Caller, job: Job) -> None:
        def ended() -> str | None:
            status, error = self._ledger.statuses.get(job.id, ("", None))
            if status == "ERRORED":
                raise BrokenPromiseError(f"{job.app} is ERRORED: {error}")
            return status if status == "STOPPED" else None

        try:
            caller.until(ended, f"the end of {job.app}", _JOB_DEADLINE_S)
        except BrokenPromiseError as e:
            self.tell_wrong(str(e))
        wrong = caller.until(lambda: (self._ledger.close_job(job),), f"the trials of {job.app}")[0]
        for told in wrong:
            self.tell_wrong(told)
        for reason in caller.until(lambda: (self._ledger.errors_of(job),), f"the trials of {job.app}")[0]:
            with self._lock:
                self.trial_errors.append(reason)
            if not _EXPECTED_ERRORS.search(reason):
                self.tell_wrong(f"a trial of {job.app} failed: {reason}")
        told_trials = caller.until(
            lambda: self.client().get_trials_of_train_job(job.app), f"the trials of {job.app}, asked by its owner"
        )
        if len(told_trials) != job.n_trials:
            self.tell_wrong(f"{job.app} is said to have {len(told_trials)} trials, of {job.n_trials}")
        with self._lock:
            self._fit.append(job.app)

    # ---- deployments

    def _keep_deployment(self, no: int, chance: random.Random) -> None:
        caller, pause = Caller(self.tell_wrong), threading.Event()
        app, n = f"first-{no}", 0
        while not self.ending.is_set():
            n += 1
            name = f"{no}-{n}"
            deployed = self._deploy(caller, app)
            address = deployed["predictor_host"]
            self._serve(Target(name, address))
            with self._lock:
                self.deployed[name] = deployed["id"]
            self.n_deployments += 1
            until = Deadline(chance.uniform(*self._pace.deployed_s))
            while not self.ending.is_set() and not until.is_over():
                pause.wait(_LOOK_S)
                address = self._follow(name, app, address)
            # The clients leave before their predictor does.
            with self._lock:
                del self.deployed[name]
            self._serve(Target(name, None))
            pause.wait(2.5)
            caller.until(lambda a=app: self._undeploy(a), f"the end of the deployment of {app}")
            with self._lock:
                app = self._fit.pop() if self._fit else app

    def _deploy(self, caller: Caller, app: str) -> dict[str, Any]:
        def deploy() -> dict[str, Any] | None:
            live = [j for j in self.client().get_inference_jobs_of_app(app) if j["status"] in ("STARTED", "RUNNING")]
            if not live:
                self.client().create_inference_job(
                    app, ensemble={"method": "mean", "size": MEMBERS}, deployment=_DEPLOYMENT
                )
                return None
            return live[0] if live[0]["status"] == "RUNNING" and live[0]["predictor_host"] else None

        return caller.until(deploy, f"the deployment of {app}")

    def _follow(self, name: str, app: str, address: str) -> str:
        """Look where the deployment is served, as a client does whom nobody answers."""
        try:
            found = self.client().get_running_inference_job(app)["predictor_host"]
        except Exception:
            return address
        if found and found != address:
            self._serve(Target(name, found))
            return str(found)
        return address

    def _undeploy(self, app: str) -> bool:
        live = [j for j in self.client().get_inference_jobs_of_app(app) if j["status"] in ("STARTED", "RUNNING")]
        if live:
            self.client().stop_inference_job(app)
        return not live
