"""The blows: what each does to the stack, and what then has to work again."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import redis
from chaos.answers import Freeze, Tally
from chaos.ledger import Ledger, Service
from chaos.pace import Pace
from chaos.recovery import Blow, Check, Checks
from chaos.stack import ChaosStack
from chaos.witness import SqliteWitness
from chaos.work import MENDS_DAMAGE, Work

Effect = Callable[[], dict[str, Check]]
"""Strikes; returns what has to work again, once the blow has let go."""

KINDS = {"advisor": "ADVISOR", "train": "TRAIN", "inference": "INFERENCE", "predictor": "PREDICT"}


class Planned(NamedTuple):
    """A blow that the seed has chosen, with what it is to hit."""

    blow: Blow
    effect: Effect


class Blows:
    """Makes blows of each kind; None where there is nothing to hit at the moment."""

    def __init__(self, stack: ChaosStack, ledger: Ledger, work: Work, tally: Tally, checks: Checks, pace: Pace) -> None:
        self._stack, self._ledger, self._work, self._tally, self._checks = stack, ledger, work, tally, checks
        self._pace = pace
        self._pause = threading.Event()
        self._once = {name: threading.Lock() for name in ("disk", "database", "cache", "admin")}
        self.makers: dict[str, Callable[[str, random.Random], Planned | None]] = {}
        for name in KINDS:
            self.makers[f"kill {name}"] = self._kill_service
            self.makers[f"stop {name}"] = self._stop_service
        for name in ("admin", "cache"):
            self.makers[f"kill {name}"] = self._kill_server
            self.makers[f"stop {name}"] = self._stop_server
        self.makers["cut the cache's connections"] = self._cut
        self.makers["flush the cache"] = self._flush
        if isinstance(stack.witness, SqliteWitness):
            self.makers["lock the database"] = self._lock_sqlite
        else:
            self.makers["end the database's backends"] = self._end_backends
            self.makers["restart the database"] = self._restart_database
        if stack.disk is not None:
            self.makers["fill the disk"] = self._fill
        self.makers["delete the logs"] = self._delete_logs
        if MENDS_DAMAGE:
            self.makers["delete run/"] = self._delete_run
            self.makers["damage a member"] = self._damage
        self.left_out = {} if stack.disk is not None else {"fill the disk": stack.no_disk}

    # ---- processes

    def _victim(self, kind: str, chance: random.Random) -> Service | None:
        found = [s for s in self._ledger.services if s.kind == KINDS[kind] and s.status == "RUNNING" and s.pid]
        return chance.choice(sorted(found)) if found else None

    def _kill_service(self, kind: str, chance: random.Random) -> Planned | None:
        victim, whole = self._victim(kind.split()[1], chance), chance.random() < 0.5
        if victim is None:
            return None

        def kill() -> dict[str, Check]:
            # A box is a process that holds others: either may be hit.
            tree = _tree(victim.pid or 0)
            for process in tree[:1] if whole else tree[-1:]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            # What the box held may answer one query more.
            psutil.wait_procs(tree, timeout=2.0)
            return self._reached_by(victim, time.time())

        return Planned(Blow(kind=kind, began=0.0, target=self._name(victim)), kill)

    def _stop_service(self, kind: str, chance: random.Random) -> Planned | None:
        victim, held_s = self._victim(kind.split()[1], chance), chance.uniform(*self._pace.stopped_s)
        if victim is None:
            return None

        def stop() -> dict[str, Check]:
            # Asked before: while its predictor is stopped the deployment may come to its end, with queries in hand.
            name = self._deployment_of(victim.job_id) if victim.kind == "PREDICT" else None
            began = time.time()
            with _stopped(_tree(victim.pid or 0)):
                self._pause.wait(held_s)
            ended = time.time()
            if name is not None:
                self._tally.freezes.append(Freeze(name, began, ended))
            return self._reached_by(victim, ended)

        return Planned(Blow(kind=kind, began=0.0, target=self._name(victim)), stop)

    def _reached_by(self, victim: Service, since: float) -> dict[str, Check]:
        if victim.kind == "TRAIN":
            return {"its slot": self._checks.slot(victim.job_id, victim.unit_id, victim.slot, since)}
        if victim.kind == "ADVISOR":
            return {"its job": self._checks.job(victim.job_id, since)}
        name = self._deployment_of(victim.job_id)
        return {} if name is None else {"its deployment": self._checks.deployment(name, since)}

    def _deployment_of(self, job_id: str) -> str | None:
        return next((name for name, deployed in list(self._work.deployed.items()) if deployed == job_id), None)

    def _name(self, victim: Service) -> str:
        return f"{victim.kind.lower()} {victim.id}, process {victim.pid}"

    def _server(self, name: str) -> psutil.Process | None:
        handle = self._stack.admin() if name == "admin" else self._stack.cache()
        return None if handle is None else handle.process()

    def _kill_server(self, kind: str, _chance: random.Random) -> Planned | None:
        name = kind.split()[1]
        if (process := self._server(name)) is None:
            return None

        def kill() -> dict[str, Check]:
            with contextlib.suppress(psutil.Error):
                process.kill()
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0, target=f"process {process.pid}"), kill)

    def _stop_server(self, kind: str, chance: random.Random) -> Planned | None:
        name, held_s = kind.split()[1], chance.uniform(*self._pace.stopped_s)
        if (process := self._server(name)) is None:
            return None

        def stop() -> dict[str, Check]:
            with _stopped([process]):
                self._pause.wait(held_s)
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0, target=f"process {process.pid}"), stop)

    # ---- the cache

    def _cut(self, kind: str, chance: random.Random) -> Planned | None:
        share = chance.choice([0.3, 1.0])

        def cut() -> dict[str, Check]:
            with contextlib.suppress(redis.RedisError, OSError), contextlib.closing(self._stack.cache_admin()) as admin:
                own = admin.client_id()
                for client in admin.client_list():
                    if int(client["id"]) != own and chance.random() < share:
                        admin.client_kill_filter(_id=client["id"])
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0, target=f"{share:.0%} of them"), cut)

    def _flush(self, kind: str, _chance: random.Random) -> Planned | None:
        def flush() -> dict[str, Check]:
            with contextlib.suppress(redis.RedisError, OSError), contextlib.closing(self._stack.cache_admin()) as admin:
                admin.flushall()
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0), flush)

    # ---- the database

    def _lock_sqlite(self, kind: str, chance: random.Random) -> Planned | None:
        held_s = chance.uniform(*self._pace.locked_s)

        def lock() -> dict[str, Check]:
            with self._once["database"], contextlib.suppress(sqlite3.Error):
                file = self._stack.root / "meta.db"
                with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=20.0)) as writer:
                    writer.execute("BEGIN EXCLUSIVE")
                    self._pause.wait(held_s)
                    writer.execute("ROLLBACK")
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0, target=f"for {held_s:.1f} s"), lock)

    def _end_backends(self, kind: str, _chance: random.Random) -> Planned | None:
        def end() -> dict[str, Check]:
            server = self._stack.server
            assert server is not None
            with self._once["database"]:
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name <> 'witness' "
                    f"AND datname = '{self._stack.database}' AND pid <> pg_backend_pid()"
                )
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0), end)

    def _restart_database(self, kind: str, _chance: random.Random) -> Planned | None:
        def restart() -> dict[str, Check]:
            server = self._stack.server
            assert server is not None
            with self._once["database"]:
                server.disconnect_all(self._stack.database)
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0), restart)

    # ---- files

    def _fill(self, kind: str, chance: random.Random) -> Planned | None:
        held_s, leave_mb = chance.uniform(*self._pace.stopped_s), chance.choice([0, 0, 16])
        disk = self._stack.disk
        assert disk is not None

        def fill() -> dict[str, Check]:
            with self._once["disk"]:
                try:
                    disk.fill(leave_bytes=leave_mb << 20)
                    self._pause.wait(held_s)
                finally:
                    disk.free()
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0, target=f"{leave_mb} MB left for {held_s:.1f} s"), fill)

    def _delete_logs(self, kind: str, _chance: random.Random) -> Planned | None:
        def delete() -> dict[str, Check]:
            self._stack.take_logs_away()
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0), delete)

    def _delete_run(self, kind: str, _chance: random.Random) -> Planned | None:
        def delete() -> dict[str, Check]:
            shutil.rmtree(self._stack.root / "run", ignore_errors=True)
            return self._checks.everything(time.time())

        return Planned(Blow(kind=kind, began=0.0), delete)

    def _damage(self, kind: str, chance: random.Random) -> Planned | None:
        """Change bytes of what a member was loaded from, and have it loaded again."""
        if (victim := self._victim("inference", chance)) is None:
            return None

        def damage() -> dict[str, Check]:
            asked = self._stack.witness.ask("SELECT params_id FROM trials WHERE id = ?", victim.unit_id)
            for file in _files_of(self._stack.root / "params", asked[0][0]):
                file.write_bytes(bytes(byte ^ 0x55 for byte in file.read_bytes()))
            tree = _tree(victim.pid or 0)
            for process in tree[:1]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(tree, timeout=2.0)
            return self._reached_by(victim, time.time())

        return Planned(Blow(kind=kind, began=0.0, target=self._name(victim)), damage)


def _files_of(params: Path, params_id: str) -> list[Path]:
    return [file for file in params.glob(f"{params_id}*") if file.is_file()]


def _tree(pid: int) -> list[psutil.Process]:
    """A process and all below it, itself first; nothing when it has ended."""
    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


@contextlib.contextmanager
def _stopped(processes: list[psutil.Process]) -> Iterator[None]:
    """SIGSTOP, and SIGCONT whatever happens."""
    for process in processes:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
