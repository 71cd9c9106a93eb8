"""The stacks that this user runs on this machine, found by their processes: there is no list of them to fall behind."""

from __future__ import annotations

from dataclasses import dataclass

from rafiki_cli.render.output import Column


@dataclass(frozen=True)
class StackRow:
    """A stack of which something runs."""

    folder: str
    admin: str | None
    """Its address; None = it does not run, though other processes of the stack do."""
    version: str | None
    status: str
    """``ok``, ``down``, or what the admin says is wrong."""
    processes: int


STACK_COLUMNS: list[Column[StackRow]] = [
    Column("FOLDER", lambda r: r.folder, least=20),
    Column("ADMIN", lambda r: r.admin),
    Column("VERSION", lambda r: r.version),
    Column("STATUS", lambda r: r.status, least=8),
    Column("PROCESSES", lambda r: r.processes, is_right=True),
]


def list_stacks() -> list[StackRow]:
    """One row a stack, by the folder's name. Those of other users cannot be seen."""
    from rafiki.client.http_server import join_address
    from rafiki.client.trust import of_running
    from rafiki.utils.pid_file import PidFile
    from rafiki.utils.process import find_stack_roots
    from rafiki_cli.target.health import health
    from rafiki_cli.target.local_stack import reachable_host

    rows = []
    for root, processes in sorted(find_stack_roots().items()):
        admin = PidFile.find(root / "run" / "admin.json", root)
        host, trust = of_running(admin, reachable_host(admin.host)) if admin else ("", None)
        answer = health(host, admin.port, trust=trust) if admin else None
        status = "down" if admin is None else "does not answer" if answer is None else str(answer["status"])
        rows.append(
            StackRow(
                folder=str(root),
                admin=join_address(host, admin.port) if admin else None,
                version=str(answer.get("version")) if answer else None,
                status=status,
                processes=len(processes),
            )
        )
    return rows
