"""Webhooks of users, and how receivers of events do."""

from __future__ import annotations

from rafiki.admin.context import AdminContext, is_admin
from rafiki.admin.operation import bind
from rafiki.admin.receivers import WEBHOOK
from rafiki.contract.endpoint import Empty
from rafiki.contract.webhooks import (
    CREATE_WEBHOOK,
    DELETE_WEBHOOK,
    GET_DELIVERIES,
    GET_RECEIVERS,
    GET_WEBHOOKS,
    RESUME_WEBHOOK,
    TEST_WEBHOOK,
    CreateWebhookRequest,
    DeliveryView,
    ListDeliveriesRequest,
    NewWebhookView,
    ReceiverView,
    WebhookRequest,
    WebhookView,
)
from rafiki.entities import Delivery, Receiver, User
from rafiki.errors import InvalidRequestError, InvalidWebhookError
from rafiki.job_events import DEFAULT, why_no_patterns
from rafiki.utils.ids import new_id
from rafiki.utils.public_addresses import is_numeric, is_public
from rafiki.utils.urls import host_of, mask_url, why_no_web_url
from rafiki.webhook_signature import secret_of


def _view(receiver: Receiver, waiting: int) -> WebhookView:
    return WebhookView(
        id=receiver.id, url=receiver.url, events=receiver.events, is_on=receiver.datetime_off is None,
        off_reason=receiver.off_reason, waiting=waiting, error=receiver.error,
        datetime_created=receiver.datetime_created, datetime_delivered=receiver.datetime_delivered,
        datetime_failed=receiver.datetime_failed,
    )  # fmt: skip


def _delivery_view(d: Delivery) -> DeliveryView:
    return DeliveryView(
        id=d.event_id, event=d.event, status=d.status, attempts=d.attempts, answer=d.answer, error=d.error,
        datetime_created=d.datetime_created, datetime_due=d.datetime_due, datetime_ended=d.datetime_ended,
    )  # fmt: skip


def create_webhook(context: AdminContext, actor: User, request: CreateWebhookRequest) -> NewWebhookView:
    settings = context.config.webhooks
    events = DEFAULT if request.events is None else list(dict.fromkeys(request.events))
    if (reason := why_no_web_url(request.url)) is not None:
        raise InvalidRequestError(f"Field 'url': {mask_url(request.url)[:80]!r} {reason}.")
    if (reason := why_no_patterns(events)) is not None:
        raise InvalidRequestError(f"Field 'events': {reason}")
    host = host_of(request.url)
    # What a name leads to is looked at when it is connected to, each time.
    is_private = host == "localhost" or (is_numeric(host) and not is_public(host))
    if is_private and not is_admin(actor) and not settings.allow_private_urls:
        raise InvalidRequestError(
            f"Field 'url': {host} is not a public address. Name one that is, or let the stack's owner set "
            "webhooks.allow_private_urls in rafiki.yaml."
        )
    made = context.store.outbox.create_receiver(
        actor.id, WEBHOOK, request.url, events, most=settings.max_per_user
    )  # fmt: skip
    context.courier.wake()
    return NewWebhookView(id=made.id, url=made.url, events=made.events, secret=secret_of(context.job_key, made.id))


def get_webhooks(context: AdminContext, actor: User, request: Empty) -> list[WebhookView]:
    waiting = context.store.outbox.count_waiting()
    return [_view(r, waiting.get(r.id, 0)) for r in context.store.outbox.list_receivers(actor.id)]


def delete_webhook(context: AdminContext, actor: User, request: WebhookRequest) -> WebhookView:
    return _view(context.store.outbox.remove_receiver(_own(context, actor, request.webhook_id).id), 0)


def test_webhook(context: AdminContext, actor: User, request: WebhookRequest) -> DeliveryView:
    receiver = _own(context, actor, request.webhook_id)
    if receiver.datetime_off is not None:
        raise InvalidRequestError(
            f"The webhook {receiver.id} is switched off: {receiver.off_reason} Switch it on again with `rafiki webhook "
            "resume`."
        )
    made = context.store.outbox.add_test(receiver.id, new_id())
    context.courier.wake()
    return _delivery_view(made)


def resume_webhook(context: AdminContext, actor: User, request: WebhookRequest) -> WebhookView:
    receiver = _own(context, actor, request.webhook_id)
    resumed = context.store.outbox.turn_receiver_on(receiver.id)
    context.courier.wake()
    return _view(resumed, context.store.outbox.count_waiting().get(receiver.id, 0))


def get_deliveries(context: AdminContext, actor: User, request: ListDeliveriesRequest) -> list[DeliveryView]:
    if request.offset < 0 or (request.limit is not None and request.limit < 0):
        raise InvalidRequestError("Fields 'offset' and 'limit' must not be negative.")
    receiver = _own(context, actor, request.webhook_id)
    found = context.store.outbox.list_deliveries(receiver.id, offset=request.offset, limit=request.limit)
    return [_delivery_view(d) for d in found]


def get_receivers(context: AdminContext, actor: User, request: Empty) -> list[ReceiverView]:
    waiting = context.store.outbox.count_waiting()
    return [
        ReceiverView(
            id=r.id, kind=r.kind, url=r.url, waiting=waiting.get(r.id, 0), is_on=r.datetime_off is None,
            error=r.error or r.off_reason, datetime_failed=r.datetime_failed,
        )
        for r in context.store.outbox.list_receivers(None)
    ]  # fmt: skip


def _own(context: AdminContext, actor: User, webhook_id: str) -> Receiver:
    found = next((r for r in context.store.outbox.list_receivers(actor.id) if r.id == webhook_id), None)
    if found is None:
        raise InvalidWebhookError.not_found(f"You have no webhook {webhook_id!r}.")
    return found


OPERATIONS = [
    bind(CREATE_WEBHOOK, create_webhook),
    bind(GET_WEBHOOKS, get_webhooks),
    bind(DELETE_WEBHOOK, delete_webhook),
    bind(TEST_WEBHOOK, test_webhook),
    bind(RESUME_WEBHOOK, resume_webhook),
    bind(GET_DELIVERIES, get_deliveries),
    bind(GET_RECEIVERS, get_receivers),
]
