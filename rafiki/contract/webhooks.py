"""Webhooks of users, and how receivers of events do."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rafiki.constants import DeliveryStatus
from rafiki.contract.endpoint import ADMINS, ALL_USERS, AnyEndpoint, Audited, Empty, Endpoint, RequestStruct


class CreateWebhookRequest(RequestStruct, frozen=True, kw_only=True):
    url: str
    """Where events are sent by POST."""
    events: list[str] | None = None
    """Which: ``train_job.ended``, ``trial.*``, ``*``; None = those of jobs, and best trials."""


class WebhookRequest(RequestStruct, frozen=True, kw_only=True):
    webhook_id: str
    """One of yours."""


class ListDeliveriesRequest(RequestStruct, frozen=True, kw_only=True):
    webhook_id: str
    """One of yours."""
    offset: int = 0
    """How many of the latest are left out."""
    limit: int | None = None
    """The most that are told; null is all."""


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str
    """Where events are sent."""
    events: list[str]
    """Which: events, and patterns such as ``train_job.*``."""
    is_on: bool
    """Whether it is told anything."""
    off_reason: str | None
    """Why it is told nothing any more."""
    waiting: int
    """How many events are still to be told."""
    error: str | None
    """Why the last attempt failed; null since one has succeeded."""
    datetime_created: datetime
    datetime_delivered: datetime | None
    """When an attempt succeeded last."""
    datetime_failed: datetime | None
    """Since when none has."""


class NewWebhookView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    url: str
    """Where events are sent."""
    events: list[str]
    """Which: events, and patterns such as ``train_job.*``."""
    secret: str
    """What its messages are signed with (Standard Webhooks), which is shown this once."""


class DeliveryView(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """Of the event: ``webhook-id`` of the message."""
    event: str
    """What happened: ``train_job.ended``."""
    status: DeliveryStatus
    """``WAITING``, ``DELIVERED``, or ``FAILED`` when it was given up."""
    attempts: int
    """How many there were."""
    answer: int | None
    """The HTTP status of the last answer."""
    error: str | None
    """Why the last attempt failed."""
    datetime_created: datetime
    """When it happened."""
    datetime_due: datetime
    """When the next attempt is due, while it waits."""
    datetime_ended: datetime | None
    """When it was told, or given up."""


class ReceiverView(msgspec.Struct, frozen=True, kw_only=True):
    """One that rafiki.yaml names."""

    id: str
    kind: str
    """``webhook``, or the kind of tracker."""
    url: str
    """Where it is, without what may be secret."""
    waiting: int
    """How many events are still to be told."""
    is_on: bool
    """Whether it is told anything."""
    error: str | None
    """Why nothing can be told now."""
    datetime_failed: datetime | None
    """Since when."""


CREATE_WEBHOOK: Endpoint[CreateWebhookRequest, NewWebhookView] = Endpoint(
    name="create_webhook", method="POST", path="/webhooks", request=CreateWebhookRequest, response=NewWebhookView,
    roles=ALL_USERS, summary="Have events of your jobs sent to an address, signed by HMAC-SHA256.",
    audited=Audited("webhook.add", ("id",)),
)  # fmt: skip
GET_WEBHOOKS: Endpoint[Empty, list[WebhookView]] = Endpoint(
    name="get_webhooks", method="GET", path="/webhooks", request=Empty, response=list[WebhookView], roles=ALL_USERS,
    summary="Your webhooks, and how they do.",
)  # fmt: skip
DELETE_WEBHOOK: Endpoint[WebhookRequest, WebhookView] = Endpoint(
    name="delete_webhook", method="DELETE", path="/webhooks/{webhook_id}", request=WebhookRequest,
    response=WebhookView, roles=ALL_USERS, summary="Remove one of your webhooks, with what waits for it.",
    audited=Audited("webhook.remove", ("webhook_id",)),
)  # fmt: skip
TEST_WEBHOOK: Endpoint[WebhookRequest, DeliveryView] = Endpoint(
    name="test_webhook", method="POST", path="/webhooks/{webhook_id}/test", request=WebhookRequest,
    response=DeliveryView, roles=ALL_USERS,
    summary="Have `webhook.test` sent to one of your webhooks, once. Its deliveries tell how that went.",
    audited=Audited("webhook.test", ("webhook_id",)),
)  # fmt: skip
RESUME_WEBHOOK: Endpoint[WebhookRequest, WebhookView] = Endpoint(
    name="resume_webhook", method="POST", path="/webhooks/{webhook_id}/resume", request=WebhookRequest,
    response=WebhookView, roles=ALL_USERS,
    summary="Switch one of your webhooks on again. It is told of what happens from now on.",
    audited=Audited("webhook.resume", ("webhook_id",)),
)  # fmt: skip
GET_DELIVERIES: Endpoint[ListDeliveriesRequest, list[DeliveryView]] = Endpoint(
    name="get_webhook_deliveries", method="GET", path="/webhooks/{webhook_id}/deliveries",
    request=ListDeliveriesRequest, response=list[DeliveryView], roles=ALL_USERS,
    summary="What one of your webhooks was told lately, or is to be told; latest first.",
)  # fmt: skip
GET_RECEIVERS: Endpoint[Empty, list[ReceiverView]] = Endpoint(
    name="get_receivers", method="GET", path="/receivers", request=Empty, response=list[ReceiverView], roles=ADMINS,
    summary="Trackers and webhooks that rafiki.yaml names, and how they do.",
)  # fmt: skip
ENDPOINTS: list[AnyEndpoint] = [
    CREATE_WEBHOOK,
    GET_WEBHOOKS,
    DELETE_WEBHOOK,
    TEST_WEBHOOK,
    RESUME_WEBHOOK,
    GET_DELIVERIES,
    GET_RECEIVERS,
]
