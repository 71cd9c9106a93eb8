"""``rafiki webhook ...``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from rafiki.constants import DeliveryStatus
from rafiki.errors import InvalidWebhookError, RequestRefusedError
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.completion import completers
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values
from rafiki_cli.render.output import (
    Column,
    Format,
    FormatOption,
    id_column,
    put_data,
    put_record,
    put_rows,
    put_secret,
    time_column,
)

if TYPE_CHECKING:
    from rafiki.client.records import AdminClient
    from rafiki.contract.webhooks import DeliveryView, WebhookView

app = new_app("Have events of your jobs sent to an address, signed: when a job ends, a better trial is found ...")
_TEST_S = 60.0

WebhookArgument: TypeAlias = Annotated[
    str,
    typer.Argument(
        metavar="URL|ID", help="Its address, its id, or the beginning of the id.", autocompletion=completers.webhooks
    ),
]
_COLUMNS: list[Column[WebhookView]] = [
    id_column(rank=0),
    Column("URL", lambda r: r.url, least=24),
    Column("EVENTS", lambda r: ", ".join(r.events), rank=3),
    Column("WAITING", lambda r: str(r.waiting), is_right=True, rank=2),
    time_column("LAST TOLD", lambda r: r.datetime_delivered, rank=4),
    Column("STATE", lambda r: f"off: {r.off_reason}" if not r.is_on else r.error or "ok"),
]
_DELIVERIES: list[Column[DeliveryView]] = [
    id_column(rank=2),
    Column("EVENT", lambda r: r.event),
    time_column("TIME", lambda r: r.datetime_created),
    Column("STATUS", lambda r: r.status),
    Column("ATTEMPTS", lambda r: str(r.attempts), is_right=True, rank=1),
    Column("ANSWER", lambda r: r.error or ("" if r.answer is None else str(r.answer))),
]


@app.command(
    epilog=examples(
        "rafiki webhook add https://hooks.example.org/rafiki",
        "rafiki webhook add https://h.example.org --event trial.best",
    )
)
def add(
    cli: Application,
    url: Annotated[str, typer.Argument(help="Where events are sent by POST.")],
    event: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<event>",
            help="An event, NOUN.* or *; may be given several times. [default: jobs, best trials]",
            autocompletion=completers.events,
        ),
    ] = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Have events of your jobs sent to an address, and print the secret that they are signed with. It is shown this
    once."""
    made = cli.client().create_webhook(url, event or None)
    about = [
        f"The webhook {made.id} is told: {', '.join(made.events)}.",
        "The secret is not shown again. Receivers check the signatures with it (Standard Webhooks).",
    ]
    put_secret(made, made.secret, about, format)


@app.command("list", epilog=examples("rafiki webhook list", "rafiki webhook list -o json"))
def list_(cli: Application, format: FormatOption = Format.TABLE) -> None:
    """List your webhooks, and how they do."""
    nothing = "No webhooks. Make one with `rafiki webhook add https://hooks.example.org/rafiki`."
    put_rows(cli.client().get_webhooks(), _COLUMNS, format, nothing=nothing)


@app.command("test", epilog=examples("rafiki webhook test https://hooks.example.org/rafiki"))
def try_(cli: Application, webhook: WebhookArgument, format: FormatOption = Format.TABLE) -> None:
    """Send `webhook.test`, once, and wait for the answer."""
    client = cli.client()
    found = _find(client, webhook)
    made = client.test_webhook(found.id)
    told = _wait(client, found.id, made)
    if format is not Format.TABLE:
        put_data(told, format)
    if told.status is not DeliveryStatus.DELIVERED:
        raise RequestRefusedError(
            f"The webhook was not told: {told.error or 'nothing sends it; see `rafiki logs admin`.'}"
        )
    if format is Format.TABLE:
        terminal.say(f"{found.url} answered with status {told.answer}.")


def _wait(client: AdminClient, webhook_id: str, made: DeliveryView) -> DeliveryView:
    from rafiki.utils.clock import Deadline
    from rafiki.utils.process import wait_until

    seen = [made]

    def is_over() -> bool:
        now = [d for d in client.get_webhook_deliveries(webhook_id, limit=50) if d.id == made.id]
        seen[:] = now or seen
        return seen[0].status is not DeliveryStatus.WAITING

    wait_until(is_over, Deadline(_TEST_S))
    return seen[0]


@app.command(epilog=examples("rafiki webhook deliveries https://hooks.example.org/rafiki -n 5"))
def deliveries(
    cli: Application,
    webhook: WebhookArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="The most that are shown.")] = 20,
    format: FormatOption = Format.TABLE,
) -> None:
    """List what a webhook was told lately, or is to be told; latest first."""
    client = cli.client()
    rows = client.get_webhook_deliveries(_find(client, webhook).id, limit=count)
    put_rows(rows, _DELIVERIES, format, nothing="Nothing was told yet. Try it with `rafiki webhook test`.")


@app.command(epilog=examples("rafiki webhook resume https://hooks.example.org/rafiki"))
def resume(cli: Application, webhook: WebhookArgument, format: FormatOption = Format.TABLE) -> None:
    """Switch a webhook on again that was switched off, because it took nothing for a day. It is told of what happens
    from now on."""
    client = cli.client()
    resumed = client.resume_webhook(_find(client, webhook).id)
    if format is Format.TABLE:
        terminal.say(f"{resumed.url} is told again, from now on.")
    else:
        put_record(resumed, [], format)


@app.command(epilog=examples("rafiki webhook remove https://hooks.example.org/rafiki"))
def remove(cli: Application, webhook: WebhookArgument, format: FormatOption = Format.TABLE) -> None:
    """Remove a webhook, with what waits for it."""
    client = cli.client()
    removed = client.delete_webhook(_find(client, webhook).id)
    if format is Format.TABLE:
        terminal.say(f"Removed the webhook {removed.url}.")
    else:
        put_record(removed, [], format)


def _find(client: AdminClient, wanted: str) -> WebhookView:
    rows = client.get_webhooks()
    found = [row for row in rows if wanted in (row.id, row.url)]
    found = found or [row for row in rows if len(wanted) >= 4 and row.id.startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidWebhookError(f"{wanted!r} names {values.count(len(found), 'webhook')}. Write the id.")
    raise InvalidWebhookError.not_found(f"You have no webhook {wanted!r}. `rafiki webhook list` shows those you have.")
