"""``rafiki up``, ``down`` and ``status``."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rafiki.constants import ExitCode
from rafiki.errors import AdminLostError, RafikiError, UnreachableError
from rafiki.utils.clock import utc_now
from rafiki.utils.values import JsonObject
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import services as services_view
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    put_data,
    put_rows,
)
from rafiki_cli.target import local_stack, session, stack_owner
from rafiki_cli.target.machine_stacks import STACK_COLUMNS, list_stacks

if TYPE_CHECKING:
    from rafiki.client.records import Away
    from rafiki.config import LoadedConfig
    from rafiki.contract.stack import ServicesEvent, ServiceView, WaitView
    from rafiki.contract.webhooks import ReceiverView
    from rafiki.settings import Config
    from rafiki.stack_folder import StackFolder
    from rafiki_cli.target.session import Target
    from rafiki_cli.target.stack_process import Started

app = new_app("The stack.")
_HEALTH_TIMEOUT_S = 3.0


@app.command(epilog=examples("rafiki up", "rafiki up --port 3001", "rafiki up --restart", "rafiki up --foreground"))
def up(
    cli: Application,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in the terminal; Ctrl-C stops the stack.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Put an admin of this version in the place of one that runs. Jobs go on."),
    ] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the admin, for this start.")] = None,
) -> None:
    """Start the stack of this folder, and wait until it is healthy. Jobs that were live go on."""
    from rafiki_cli.target import stack_process, starting

    loaded = cli.loaded_config(port=port)
    folder = stack_process.create_folder(loaded)
    starting.tell_standing(folder)
    if foreground:
        _run_in_foreground(loaded, folder, port, restart)
    port_before = folder.kept_admin_port
    started = stack_process.start(loaded, port=port)
    if not started.is_new:
        renewed = starting.renew(loaded, folder, started, port=port, is_wanted=restart)
        if renewed is None:
            _warn_of_others(cli, started.url)
            _check_health(started)
            return
        started = renewed
    terminal.say(f"The stack runs at {started.url} (process {started.pid}).")
    starting.tell_port(loaded, started, port_before)
    terminal.say(f"State and logs: {folder.root}")
    terminal.say(f"The superadmin's first password is in {folder.superadmin_password_file}; commands read it there.")
    for told in started.warnings:
        terminal.warn(told)
    _warn_without_box(loaded.config)
    _warn_of_others(cli, started.url)
    has_job = (loaded.base_folder / "job.yaml").is_file()
    terminal.hint(f"Next: {'rafiki run job.yaml' if has_job else 'rafiki quickstart, or rafiki init NAME'}")


def _warn_without_box(config: Config) -> None:
    """Tell once, at the start, what model code can do where nothing keeps it apart."""
    from rafiki.sandbox.bubblewrap import why_no_sandbox

    if config.container.backend == "process" and (why := why_no_sandbox(config.container)) is not None:
        terminal.warn(
            f"Model code runs without a box ({why}): it can read and write whatever you can. Before you let others "
            "upload models, install bubblewrap (Debian, Ubuntu: `apt install bubblewrap`)."
            if config.container.sandbox != "none"
            else "Model code runs without a box, as container.sandbox says: it can read and write whatever you can."
        )


def _check_health(started: Started) -> None:
    """End the command when the admin says that its stack is not healthy."""
    from rafiki_cli.target.health import health

    found = health(started.host, started.port, trust=started.trust)
    if found is not None and found["status"] != "ok":
        terminal.abort(f"It is not healthy: {found['status']}", ExitCode.UNHEALTHY)


def _warn_of_others(cli: Application, url: str) -> None:
    """Tell when commands in this folder go to another admin than the one that was started."""
    found = cli.target()
    if not found.is_local:
        terminal.warn(
            f"Commands here go to {found.address}, named by {found.source}, not to {url}. "
            f"`--context local` chooses the stack of this folder."
        )


def _run_in_foreground(loaded: LoadedConfig, folder: StackFolder, port: int | None, restart: bool) -> None:
    from rafiki_cli.target import stack_process, upgrade

    if running := stack_process.find_running(folder):
        if not restart:
            terminal.say(f"The stack runs already at {running.url} (process {running.pid}).")
            terminal.finish(ExitCode.OK)
        upgrade.preview(loaded, folder)
        stack_process.hand_over(folder)
    if loaded.config.admin.port:
        stack_process.check_port(loaded.config.admin.host, loaded.config.admin.port)
    at = f"on port {loaded.config.admin.port}" if loaded.config.admin.port else "on a free port, which its log tells"
    terminal.say(f"Stack in {folder.root}, admin {at}. Ctrl-C stops it.")
    sys.stderr.flush()
    command = stack_process.admin_command()
    os.chdir(loaded.base_folder)
    # The admin takes this process's place, so that signals and the exit code are its own.
    os.execve(command[0], command, stack_process.admin_environment(loaded, folder, port))


@app.command(epilog=examples("rafiki down"))
def down(cli: Application) -> None:
    """Stop the admin, the cache and all services of jobs. Nothing is lost: jobs go on at the next `rafiki up`."""
    from rafiki_cli.target import stack_process

    folder = cli.own_stack_folder()
    stopped = stack_process.stop(folder)
    if (reason := stack_process.sweep(cli.loaded_config(), folder)) is not None:
        terminal.warn(f"What may run on other hosts was not looked for: {reason}")
    if stopped.admin_pid is None and not stopped.others:
        terminal.say(f"No stack runs in {folder.root}.")
        return
    what = [f"the admin (process {stopped.admin_pid})"] if stopped.admin_pid else []
    if stopped.others:
        what.append(f"{stopped.others} other process{'es' if stopped.others != 1 else ''}")
    terminal.say(f"Stopped {' and '.join(what)}. Live jobs go on at the next `rafiki up`.")


@dataclass(frozen=True)
class ProcessRow:
    """A process of the stack on this machine."""

    pid: int
    command: str
    memory_bytes: int
    service_id: str | None


_PROCESSES: list[Column[ProcessRow]] = [
    Column("PID", lambda r: r.pid, is_right=True),
    Column("COMMAND", lambda r: r.command, least=20),
    Column("MEMORY", lambda r: values.size(r.memory_bytes), is_right=True),
]


@app.command(epilog=examples("rafiki status", "rafiki status --all", "rafiki status --watch", "rafiki status -o json"))
def status(
    cli: Application,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing the services as they change.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="List your stacks that run on this machine.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show the admin, the cache and the services of jobs. Exits with 5 when the stack is down, 11 when it
    is not healthy: also when its admin hangs, or has ended without `rafiki down`."""
    if all_:
        if watch:
            raise terminal.UsageError("Give --all or --watch, not both.")
        put_rows(list_stacks(), STACK_COLUMNS, format)
        return
    if watch:
        _watch(cli, format)
        return

    admin = cli.target()
    found, absence = _look_at_admin(cli, admin)
    state: dict[str, Any] = {"admin": {"address": admin.address, "is_up": found is not None, **(found or {})}}
    if isinstance(absence, AdminLostError):
        state["admin"]["status"] = absence.message
    if not admin.is_local:
        state["named_by"] = str(admin.source)
    else:
        _add_local(cli, state)
    is_ours = "folder" not in state or state["folder"] == str(cli.stack_folder().root)
    services = _services(cli) if found and is_ours else None
    # A table of services has no room for their processes.
    if admin.is_local and (services is None or format is not Format.TABLE):
        _add_processes(cli, state)
    if services is not None:
        state["services"] = services
        state["waiting"] = _waits(cli)
        state["receivers"] = _receivers(cli)
    if format is not Format.TABLE:
        put_data(state, format)
    else:
        _put_state(state)
    if not is_ours:
        terminal.warn(
            f"This admin does not belong to {cli.stack_folder().root}: it only has the port that is configured here."
        )
    if found is None:
        assert absence is not None
        raise absence
    if found["status"] != "ok":
        terminal.abort(f"The stack is not healthy: {found['status']}", ExitCode.UNHEALTHY)


def _look_at_admin(cli: Application, admin: Target) -> tuple[JsonObject | None, UnreachableError | None]:
    """What the admin says of itself, or why it says nothing."""
    from rafiki_cli.target.health import ask_health

    if admin.source is session.Source.DOWN:
        return None, local_stack.why_down(cli.stack_folder())
    try:
        found = ask_health(admin.host, admin.port, _HEALTH_TIMEOUT_S, trust=admin.trust)
    except AdminLostError as e:
        return None, e
    return found, None if found else _why_absent(cli, admin)


def _why_absent(cli: Application, admin: Target) -> UnreachableError:
    if not admin.is_local:
        return UnreachableError(f"No admin answers at {admin.address}. Check the address.")
    folder = cli.stack_folder()
    loss = None if stack_owner.is_of_another_user(folder) else folder.find_loss()
    return loss or UnreachableError(f"No admin answers at {admin.address}. Start the stack with `rafiki up`.")


def _watch(cli: Application, format: Format) -> None:
    """The services as the admin tells their changes, until Ctrl-C."""
    from rafiki.client.records import Away
    from rafiki_cli.watch import streams
    from rafiki_cli.watch.health import while_answering

    if format in (Format.JSON, Format.YAML):
        raise terminal.UsageError(f"-o {format} needs an end, and --watch has none. Take -o jsonl: an event a line.")
    if format is Format.TABLE and not terminal.is_interactive():
        raise terminal.UsageError("--watch shows a table that changes: that needs a terminal. Elsewhere take -o jsonl.")
    client = cli.client()
    events = streams.batches(client.watch_services, tick_s=1.0)
    # What is not healthy is what one looks for here: only an admin that hangs ends it.
    with contextlib.suppress(KeyboardInterrupt), while_answering(client.address, client.trust):
        if format is Format.JSONL:
            for event in (e for batch in events for e in batch if not isinstance(e, Away)):
                put_data(event, format)
            return
        _watch_live(f"admin  {client.address}", events)


def _watch_live(title: str, events: Iterator[list[ServicesEvent | Away]]) -> None:
    from rich.live import Live

    from rafiki.client.records import Away
    from rafiki_cli.render.console import HarmlessConsole

    console = HarmlessConsole()
    services: list[ServiceView] = []
    notice = ""
    with Live(console=console, auto_refresh=False) as live:
        for batch in events:
            for event in batch:
                if isinstance(event, Away):
                    notice = f"The admin does not answer: {event.reason}"
                else:
                    notice, services = "", event.services
            live.update(services_view.live_view(title, services, utc_now(), console.width, notice), refresh=True)


def _add_local(cli: Application, state: dict[str, Any]) -> None:
    folder = cli.stack_folder()
    state["folder"] = str(folder.root)
    is_known = stack_owner.is_of_another_user(folder) or local_stack.find_admin(folder) is not None
    if state["admin"]["is_up"] and not is_known:
        # The configured port answers, but nobody started an admin here.
        from rafiki_cli.target import stack_process

        found = stack_process.find_stack_of(cli.target().port)
        state["folder"] = str(found) if found else None
    for name, running in (("admin", local_stack.find_admin(folder)), ("cache", local_stack.find_cache(folder))):
        if running is not None:
            state.setdefault(name, {"address": f"{running.host}:{running.port}"})["pid"] = running.process.pid


def _add_processes(cli: Application, state: dict[str, Any]) -> None:
    import psutil

    from rafiki.moved_stack import find_left_behind
    from rafiki.utils.process import SERVICE_VARIABLE, find_stack_processes

    known = {state[name].get("pid") for name in ("admin", "cache") if name in state}
    state["processes"] = []
    folder = cli.stack_folder()
    for p in [*find_stack_processes(folder.root), *find_left_behind(folder)]:
        try:
            command, memory_bytes = " ".join(p.cmdline()), p.memory_info().rss
            entry = ProcessRow(p.pid, command, memory_bytes, p.environ().get(SERVICE_VARIABLE))
        except psutil.Error:
            continue
        if p.pid not in known:
            state["processes"].append(entry)


def _services(cli: Application) -> list[ServiceView] | None:
    try:
        return cli.client().get_services()
    except RafikiError:
        return None  # Not logged in, or not an admin: the processes tell what runs.


def _absence(admin: dict[str, Any]) -> str:
    """In the table, where the message follows anyway."""
    if "status" not in admin:
        return "down"
    return "hangs" if "pid" in admin else "lost"


def _waits(cli: Application) -> list[WaitView]:
    try:
        return cli.client().get_waits()
    except RafikiError:
        return []  # An admin of an earlier version does not tell.


def _receivers(cli: Application) -> list[ReceiverView]:
    try:
        return cli.client().get_receivers()
    except RafikiError:
        return []  # An admin of an earlier version does not tell.


def _put_receivers(state: dict[str, Any]) -> None:
    """Who is told of results, and why not."""
    for r in state.get("receivers") or ():
        waiting = f", {values.count(r.waiting, 'event')} waiting" if r.waiting else ""
        terminal.put(f"tells {r.kind} at {r.url}{waiting}")
        if r.error is not None:
            terminal.warn(f"{r.kind} at {r.url} cannot be told: {r.error}")


def _put_waits(state: dict[str, Any]) -> None:
    """What is wanted and cannot be started."""
    for wait in state["waiting"]:
        workers = f"{wait.count} of {values.count(wait.of, 'worker')}"
        does = "cannot run" if wait.is_lost else "waits" if wait.count == 1 else "wait"
        terminal.put(f"{wait.name}: {workers} {does}: {wait.reason}")


def _put_state(state: dict[str, Any]) -> None:
    admin = state["admin"]
    about = f", version {admin['version']}: {admin['status']}" if admin["is_up"] else f": {_absence(admin)}"
    process = f" (process {admin['pid']})" if admin.get("pid") else ""
    terminal.put(f"admin  {admin['address']}{process}{about}")
    for notice in admin.get("notices") or ():
        terminal.warn(notice)
    if cache := state.get("cache"):
        terminal.put(f"cache  {cache['address']} (process {cache['pid']})")
    if sandbox := admin.get("sandbox"):
        terminal.put(f"models in boxes ({sandbox})")
    elif why := admin.get("no_sandbox"):
        terminal.put(f"models without a box: {why}")
    if "folder" in state:
        terminal.put(f"folder {state['folder'] or 'unknown'}")
    if "named_by" in state:
        terminal.put(f"named by {state['named_by']}")
    _put_receivers(state)
    if services := state.get("services"):
        terminal.put("")
        put_rows(services, services_view.columns(utc_now()), Format.TABLE)
        _put_waits(state)
    elif services is not None:
        _put_waits(state)
    elif services is None and state.get("processes"):
        terminal.put("")
        put_rows(state["processes"], _PROCESSES, Format.TABLE)
        if admin["is_up"]:
            terminal.say("Log in as an admin (`rafiki login`) to see what these processes work on.")
        else:
            terminal.say("These are left of the stack. `rafiki up` goes on with them, `rafiki down` ends them.")
