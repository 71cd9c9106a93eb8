"""Webhooks, and how receivers of events do."""

from __future__ import annotations

from collections.abc import Sequence

from rafiki.client.records.calls import Calls
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


class WebhookCalls(Calls):
    """Calls about webhooks."""

    def create_webhook(self, url: str, events: Sequence[str] | None = None) -> NewWebhookView:
        """Have events of your jobs sent to an address."""
        chosen = None if events is None else list(events)
        return self._call(CREATE_WEBHOOK, CreateWebhookRequest(url=url, events=chosen))

    def get_webhooks(self) -> list[WebhookView]:
        """Your webhooks."""
        return self._call(GET_WEBHOOKS, Empty())

    def delete_webhook(self, webhook_id: str) -> WebhookView:
        """Remove one of your webhooks."""
        return self._call(DELETE_WEBHOOK, WebhookRequest(webhook_id=webhook_id))

    def test_webhook(self, webhook_id: str) -> DeliveryView:
        """Have a test sent to one of your webhooks."""
        return self._call(TEST_WEBHOOK, WebhookRequest(webhook_id=webhook_id))

    def resume_webhook(self, webhook_id: str) -> WebhookView:
        """Switch one of your webhooks on again."""
        return self._call(RESUME_WEBHOOK, WebhookRequest(webhook_id=webhook_id))

    def get_webhook_deliveries(
        self, webhook_id: str, *, offset: int = 0, limit: int | None = None
    ) -> list[DeliveryView]:  # fmt: skip
        """What one of your webhooks was told lately, or is to be told; latest first."""
        return self._call(GET_DELIVERIES, ListDeliveriesRequest(webhook_id=webhook_id, offset=offset, limit=limit))

    def get_receivers(self) -> list[ReceiverView]:
        """Trackers and webhooks that rafiki.yaml names."""
        return self._call(GET_RECEIVERS, Empty())
