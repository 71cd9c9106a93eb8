"""``rafiki node ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rafiki.constants import NodeRole, NodeState
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import Column, Format, FormatOption, put_data, put_record, put_rows

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.nodes import JoinView, NodeGpuView, NodeView
    from rafiki.utils.clock import Deadline

app = new_app("The machines that services run on, where container.backend is swarm.")
NameArgument = Annotated[
    str, typer.Argument(help="Its name, as `rafiki node list` shows it.", autocompletion=completers.nodes)
]
_TICK_S = 2.0
"""What a node reports is looked at so often while nothing changes."""


def _gpus(row: NodeView) -> str | None:
    """``0 NVIDIA H200 150.1 GB, 1 NVIDIA H200 150.1 GB (in use)``."""
    return ", ".join(_gpu(gpu) for gpu in row.gpus) or None


def _gpu(gpu: NodeGpuView) -> str:
    about = [gpu.name, gpu.model or "", values.size(gpu.memory_bytes) if gpu.memory_bytes else ""]
    return " ".join(filter(None, [*about, "(in use)" if gpu.used_by else ""]))


def _few_gpus(row: NodeView) -> str | None:
    used = sum(bool(gpu.used_by) for gpu in row.gpus)
    return f"{used}/{len(row.gpus)} in use" if row.gpus else None


def _memory(row: NodeView) -> str:
    if row.free_memory_bytes is None:
        return values.size(row.memory_bytes)
    return f"{values.size(row.free_memory_bytes)} of {values.size(row.memory_bytes)} free"


def _image(row: NodeView) -> str | None:
    return {True: "there", False: "MISSING", None: None}[row.has_image]


_COLUMNS: list[Column[NodeView]] = [
    Column("NAME", lambda r: r.name, least=8),
    Column("STATE", lambda r: r.state),
    Column("ROLE", lambda r: r.role or None, rank=2, is_hidden_empty=True),
    Column("SERVICES", lambda r: len(r.services), is_right=True),
    Column("CORES", lambda r: values.number(r.cores) if r.cores else None, is_right=True, rank=1),
    Column("MEMORY", _memory, is_right=True, rank=1),
    Column("DISK FREE", lambda r: values.size(r.free_disk_bytes), is_right=True, rank=3),
    Column("GPUS", _gpus, short=_few_gpus, is_hidden_empty=True),
    Column("IMAGE", _image, is_hidden_empty=True),
    Column("LABELS", lambda r: ", ".join(f"{k}={v}" for k, v in r.labels.items()), rank=4, is_hidden_empty=True),
    Column("ADDRESS", lambda r: r.address, rank=4, is_hidden_empty=True),
    Column("NOTE", lambda r: r.note, least=20, is_hidden_empty=True),
]


@app.command("list", epilog=examples("rafiki node list", "rafiki node list -o json"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List the nodes: how they are, what they have, and how many services of this stack run there.

    GPUs, free disk and image are looked at by a short service on each node, which takes some seconds.
    """
    put_rows(cli.client().get_nodes(), _COLUMNS, format, nothing="No nodes.")


@app.command(epilog=examples("rafiki node show node2"))
def show(cli: Application, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Show a node and the services of this stack that run there."""
    found = cli.client().get_node(name)
    columns = [c for c in _COLUMNS if c.title != "SERVICES"]
    services: Column[NodeView] = Column("SERVICES", lambda r: "\n".join(s.name for s in r.services))
    put_record(found, [*columns, services], format)


@app.command(epilog=examples("rafiki node add", "rafiki node add --role manager", "rafiki node add --rotate"))
def add(
    cli: Application,
    role: Annotated[
        NodeRole,
        typer.Option(help="What it becomes; a manager also takes part in what the Swarm decides."),
    ] = NodeRole.WORKER,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make the token anew: the one before it is void.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Print the command that makes a machine a node; type it there.

    It holds a token, which is a secret: with it any machine can join. It takes the login of an admin, no API token.
    """
    from rafiki.contract.nodes import AddNodeRequest

    order: JoinView = cli.client().add_node(AddNodeRequest(role=role, rotate=rotate))
    if format is not Format.TABLE:
        put_data(order, format)
        return
    terminal.put(order.command)
    terminal.say(f"Type it on the machine that is to be a {order.role}. The token is good {order.valid}.")
    terminal.hint("`rafiki image spread` brings the image there, or `rafiki image push` for all.")


@app.command(epilog=examples("rafiki node drain node2", "rafiki node drain node2 --no-wait"))
def drain(
    cli: Application,
    name: NameArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is empty.")] = True,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long to wait, as in 30m; it goes on running empty.")
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Let a node run empty, and wait until it is.

    It is given nothing new. Train workers end after the trial that they run, and others start on other nodes; members
    of ensembles serve until their replacements do. Ctrl-C ends the wait alone.
    """
    from rafiki.utils.clock import Deadline
    from rafiki_cli.render.durations import parse_duration
    from rafiki_cli.watch.health import while_healthy

    deadline = None if timeout is None else Deadline(parse_duration(timeout, "--timeout"))
    client = cli.client()
    node = client.drain_node(name)
    if wait and node.services:
        with while_healthy(client.address):
            node = _wait_until_empty(client, node, deadline)
    if format is not Format.TABLE:
        put_data(node, format)
    elif node.services:
        terminal.say(f"{node.name} is draining: {_told(node)}")
    else:
        terminal.say(f"{node.name} is empty, and is given nothing new.")
        terminal.hint(
            f"`rafiki node activate {node.name}` uses it again, `rafiki node remove {node.name}` takes it out."
        )


def _wait_until_empty(client: AdminClient, node: NodeView, deadline: Deadline | None) -> NodeView:
    """Tell what runs there still, each time that it is less.

    Raises:
        TimedOutError: at the deadline.
    """
    from rafiki_cli.jobs.errors import TimedOutError
    from rafiki_cli.watch import streams

    told = _told(node)
    terminal.say(f"{node.name} is draining: {told}")
    for _ in streams.batches(client.watch_services, tick_s=_TICK_S, deadline=deadline):
        node = client.get_node(node.name)
        if not node.services or node.state not in (NodeState.DRAINING, NodeState.DRAINED):
            return node
        if _told(node) != told:
            told = _told(node)
            terminal.say(f"{node.name} is draining: {told}")
    raise TimedOutError(f"{node.name} is not empty yet: {told} It goes on; run the command again to wait on.")


def _told(node: NodeView) -> str:
    names = ", ".join(s.name for s in node.services)
    return (
        f"{values.count(len(node.services), 'service')} still {'runs' if len(node.services) == 1 else 'run'}: {names}."
    )


@app.command(epilog=examples("rafiki node activate node2"))
def activate(cli: Application, name: NameArgument, format: FormatOption = Format.TABLE) -> None:
    """Use a node again that was drained or paused."""
    node = cli.client().activate_node(name)
    if format is not Format.TABLE:
        put_data(node, format)
    else:
        terminal.say(f"{node.name} is given services again.")


@app.command(epilog=examples("rafiki node remove node2", "rafiki node remove node2 --force"))
def remove(
    cli: Application,
    name: NameArgument,
    force: Annotated[
        bool, typer.Option("--force", help="Also when services run there: they end, and others take their place.")
    ] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Take a node out that is drained or lost."""
    node = cli.client().remove_node(name, force=force)
    if format is not Format.TABLE:
        put_data(node, format)
        return
    terminal.say(f"{node.name} is no node any more.")
    if node.state is not NodeState.LOST:
        terminal.say("That machine does not know it yet: type `docker swarm leave` there.")
