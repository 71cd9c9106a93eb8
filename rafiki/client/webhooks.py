"""Webhooks, and how receivers of events do."""

from __future__ import annotations

from collections.abc import Sequence

from rafiki.client.calls import Calls
from rafiki.client.plain_answers import Json
from rafiki.contract import webhooks


class WebhookCalls(Calls):
    """Calls about webhooks."""

    def create_webhook(self, url: str, events: Sequence[str] | None = None) -> Json:
        """Have events of your jobs sent to an address, signed; ``secret`` is shown this once.

        Args:
            events: ``train_job.ended``, ``trial.*``, ``*``; None = those of jobs, and best trials.
        """
        return self._one(webhooks.CREATE_WEBHOOK, url=url, events=None if events is None else list(events))

    def get_webhooks(self) -> list[Json]:
        """Your webhooks, and how they do."""
        return self._many(webhooks.GET_WEBHOOKS)

    def delete_webhook(self, webhook_id: str) -> Json:
        """Remove one of your webhooks, with what waits for it."""
        return self._one(webhooks.DELETE_WEBHOOK, webhook_id=webhook_id)

    def test_webhook(self, webhook_id: str) -> Json:
        """Have ``webhook.test`` sent to one of your webhooks, once; its deliveries tell how that went."""
        return self._one(webhooks.TEST_WEBHOOK, webhook_id=webhook_id)

    def resume_webhook(self, webhook_id: str) -> Json:
        """Switch one of your webhooks on again. It is told of what happens from now on."""
        return self._one(webhooks.RESUME_WEBHOOK, webhook_id=webhook_id)

    def get_webhook_deliveries(self, webhook_id: str, *, offset: int = 0, limit: int | None = None) -> list[Json]:
        """What one of your webhooks was told lately, or is to be told; latest first."""
        return self._many(webhooks.GET_DELIVERIES, webhook_id=webhook_id, offset=offset, limit=limit)

    def get_receivers(self) -> list[Json]:
        """Trackers and webhooks that rafiki.yaml names, and how they do: for admins."""
        return self._many(webhooks.GET_RECEIVERS)
