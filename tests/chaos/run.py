"""A run: a stack at work, blows by the seed, and what came of it."""

from __future__ import annotations

import os
import platform
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from chaos.answers import Answer, Lag, Tally, Target
from chaos.blows import Blows, Planned
from chaos.ledger import Ledger
from chaos.pace import LONG, Pace
from chaos.recovery import MOST_S, Blow, Checks, Recoveries
from chaos.report import Report, summarize
from chaos.stack import REPO, ChaosStack
from chaos.watchdog import Watchdog
from chaos.witness import AwayError
from chaos.work import DEPLOYMENTS, Work

from rafiki.sandbox.bubblewrap import NoBubblewrapError, find_bubblewrap
from rafiki.utils.clock import Deadline
from rafiki.utils.process import wait_until

MOST_OPEN = 4
"""Blows that have not been recovered from: the next one waits."""
_LOOK_S = 0.15
_END_S = 300.0
_BEFORE_S = 1.0
"""How long before a query a blow may have ended to be told beside it."""


class Clients:
    """The process of clients, and what it tells."""

    def __init__(self, seed: str, tally: Tally) -> None:
        self._tally = tally
        path = os.pathsep.join([str(REPO), str(REPO / "tests")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "chaos.clients", seed], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="clients", daemon=True)
        self._thread.start()

    def serve(self, target: Target) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(msgspec.json.encode(target) + b"\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        decode = msgspec.json.Decoder(Answer | Lag).decode
        for line in self._process.stdout:
            told = decode(line)
            if isinstance(told, Lag):
                self._tally.add_lag(told)
            else:
                self._tally.add(told)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(10.0)


class ChaosRun:
    """One of them. Everything that is chosen, is chosen by the seed."""

    def __init__(self, database: str, seed: int, tell: Callable[[str], None], pace: Pace = LONG) -> None:
        self._pace = pace
        self._database, self._seed, self._tell = database, seed, tell
        self._chance = random.Random(seed)
        self._tally = Tally()
        self._stopping = threading.Event()

    def run(
        self,
        duration_s: float,
        only: list[str] | None = None,
        n_blows: int | None = None,
        keep_logs: Path | None = None,
    ) -> Report:
        """
        Args:
            only: the kinds of blows; None = all.
            n_blows: after which it ends; None = when the time has passed.
            keep_logs: a new folder for the stack's logs, when something was broken.
        """
        began, started = time.time(), datetime.now(UTC)
        with ChaosStack(self._database) as stack:
            up = stack.run("up")
            if up.returncode:
                raise RuntimeError(f"rafiki up: {up.stderr}")
            self._ledger = Ledger(stack.witness)
            clients = Clients(str(self._seed), self._tally)
            self._work = Work(stack, self._ledger, self._pace, str(self._seed), clients.serve)
            self._watchdog, self._recoveries = Watchdog(stack), Recoveries()
            checks = Checks(self._ledger, self._work, self._tally, self._watchdog)
            blows = Blows(stack, self._ledger, self._work, self._tally, checks, self._pace)
            looking = threading.Thread(target=self._look, name="ledger", daemon=True)
            looking.start()
            self._watchdog.start()
            self._recoveries.start()
            try:
                self._work.prepare()
                self._wait_for_work()
                self._strike_all(blows, only or list(blows.makers), duration_s, n_blows)
                duration_s = time.time() - began
                left = self._end(stack)
            finally:
                self._stopping.set()
                clients.close()
                self._watchdog.close()
                self._recoveries.close()
                looking.join(10.0)
            left += self._down(stack)
            report = self._report(blows, started, duration_s, left)
            if report.broken and keep_logs is not None:
                shutil.copytree(stack.root / "logs", keep_logs)
                for i, folder in enumerate(stack.old_logs):
                    shutil.copytree(folder, keep_logs / f"{i}")
            return report

    def _look(self) -> None:
        while not self._stopping.is_set():
            try:
                self._ledger.look(list(self._work.deployed.values()))
            except AwayError as e:
                self._tell(f"the database cannot be asked: {e}")
            self._stopping.wait(_LOOK_S)

    def _wait_for_work(self) -> None:
        """Until every job has a finished trial, and every deployment has answered."""

        def works() -> bool:
            jobs = self._ledger.live_jobs()
            return (
                len(jobs) >= self._pace.jobs
                and all(self._ledger.last_start(job.id) for job in jobs)
                and len(self._work.deployed) >= DEPLOYMENTS
                and all(name in self._tally.last_complete for name in list(self._work.deployed))
            )

        if not wait_until(works, Deadline(120.0)):
            raise RuntimeError(f"the stack does not work before the first blow: {self._work.broken}")

    def _strike_all(self, blows: Blows, kinds: list[str], duration_s: float, n_blows: int | None) -> None:
        deadline, pause, threads = Deadline(duration_s), threading.Event(), []
        order: list[str] = []
        while not deadline.is_over() and (n_blows is None or len(self._recoveries.blows) < n_blows):
            pause.wait(min(4 * self._pace.pause_s, self._chance.expovariate(1 / self._pace.pause_s)))
            wait_until(lambda: self._recoveries.n_open < MOST_OPEN, Deadline(MOST_S))
            if not order:
                # Every kind as often as every other, in an order that the seed shuffles.
                order = list(kinds)
                self._chance.shuffle(order)
            kind = order.pop()
            planned = blows.makers[kind](kind, random.Random(self._chance.random()))
            if planned is not None:
                threads.append(threading.Thread(target=self._strike, args=(planned,), daemon=True))
                threads[-1].start()
        for thread in threads:
            thread.join(60.0)

    def _strike(self, planned: Planned) -> None:
        blow = planned.blow
        blow.began = time.time()
        self._recoveries.strike(blow)
        try:
            checks = planned.effect()
        except AwayError:
            # Whom to hit is asked of a database that is away itself: nothing was struck.
            checks = {}
        except Exception as e:
            self._work.tell_wrong(f"the suite could not {blow.kind}: {type(e).__name__}: {e}")
            return
        blow.ended = time.time()
        blow.is_moot = not checks
        self._recoveries.follow(blow, checks)

    # ---- the end

    def _end(self, stack: ChaosStack) -> list[str]:
        """Let all go on to its end; what is live after that."""
        wait_until(lambda: not self._recoveries.n_open, Deadline(MOST_S + 5))
        self._work.finish(_END_S)
        left: list[str] = []

        def nothing_is_left() -> bool:
            try:
                left[:] = self._ledger.left_running()
            except AwayError as e:
                left[:] = [str(e)]
            return not left

        wait_until(nothing_is_left, Deadline(30.0))
        try:
            self._ledger.look_at_all()
        except AwayError as e:
            self._work.tell_wrong(f"the database cannot be asked at the end: {e}")
        return left

    def _down(self, stack: ChaosStack) -> list[str]:
        done = stack.run("down")
        if done.returncode:
            self._work.tell_wrong(f"rafiki down: {done.stderr.strip()}")
        return [f"process {p.pid} after `rafiki down`" for p in stack.processes()]

    def _tell_late(self, answer: Answer, late_s: float) -> str:
        """With what was struck meanwhile, so that a cause can be found."""
        end = answer.sent_at + answer.took_s
        struck = [
            f"{b.kind} ({b.target}) from {b.began - answer.sent_at:+.2f} to {b.ended - answer.sent_at:+.2f} s"
            for b in self._recoveries.blows
            if b.began and b.began < end and (b.ended or end) > answer.sent_at - _BEFORE_S
        ]
        return (
            f"{answer.target}: {answer.outcome} {late_s:.2f} s after its deadline of {answer.deadline_s} s, sent "
            f"{answer.sent_at:.3f}; blows around it: {', '.join(struck) or 'none'}"
        )

    def _report(self, blows: Blows, started: datetime, duration_s: float, left: list[str]) -> Report:
        by_kind: defaultdict[str, list[Blow]] = defaultdict(list)
        for blow in self._recoveries.blows:
            by_kind[blow.kind].append(blow)
        all_blows, late = self._recoveries.blows, self._tally.late()
        not_recovered = [b for b in all_blows if b.recovered_s is None]
        lost, doubled = self._ledger.lost(), self._ledger.doubled()
        broken = [
            *self._work.broken,
            *(f"not within {MOST_S:g} s after {b.kind} ({b.target}): {b.waits_for}" for b in not_recovered),
            *lost,
            *doubled,
            *(f"left at the end: {what}" for what in left),
            *(self._tell_late(a, s) for a, s in late),
            *self._tally.wrong,
        ]
        return Report(
            database=self._database, seed=self._seed, started=f"{started:%Y-%m-%d %H:%M} UTC",
            duration_s=round(duration_s, 1), machine=f"{os.cpu_count()} cores, Python {platform.python_version()}",
            load_average=round(os.getloadavg()[1], 1), is_boxed=_has_boxes(),
            kinds=[
                summarize(kind, [b.recovered_s for b in n if b.recovered_s is not None and not b.is_moot], len(n))
                for kind, n in sorted(by_kind.items())
            ],
            left_out=blows.left_out, n_blows=len(all_blows), n_not_recovered=len(not_recovered),
            n_moot=sum(b.is_moot for b in all_blows), n_jobs=self._work.n_jobs,
            n_deployments=self._work.n_deployments, n_finished_trials=self._ledger.n_finished,
            n_failed_trials=len(self._work.trial_errors), n_lost=len(lost), n_doubled=len(doubled),
            n_left_running=len(left), requests=dict(sorted(self._tally.outcomes.items())), n_late=len(late),
            n_late_for_client=self._tally.late_for_client(), n_held=self._tally.held_by_stopped(),
            worst_late_s=round(max((s for _, s in late), default=0.0), 3),
            client_lag_s=round(self._tally.worst_lag_s, 3), n_ups=self._watchdog.n_ups,
            failed_ups=self._watchdog.failures, broken=broken,
        )  # fmt: skip


def _has_boxes() -> bool:
    try:
        find_bubblewrap()
    except NoBubblewrapError:
        return False
    return True
