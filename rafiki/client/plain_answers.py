"""What the published client answers with."""

from __future__ import annotations

from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]  # type: ignore[explicit-any]
"""Plain values, which scripts use without a check of each. Programs with types of their own use the records of
:mod:`rafiki.client.records`."""
