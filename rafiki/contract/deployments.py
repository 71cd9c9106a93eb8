"""How an inference job is to serve, as requests say it."""

from __future__ import annotations

from rafiki.deployment import Deployment


class DeploymentRequest(Deployment, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an inference job is to serve. None = as the stack's settings say."""
