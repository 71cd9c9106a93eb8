"""Who did what."""

from __future__ import annotations

from rafiki.admin.context import AdminContext
from rafiki.admin.operation import bind
from rafiki.contract.audit import GET_AUDIT, AuditEntry, ListAuditRequest
from rafiki.entities import User
from rafiki.errors import InvalidRequestError


def get_audit(context: AdminContext, actor: User, request: ListAuditRequest) -> list[AuditEntry]:
    if request.since is not None and request.since.tzinfo is None:
        raise InvalidRequestError("Field 'since': name its time zone, as in 2026-11-30T14:00:00Z.")
    return context.audit.newest(request.count, user=request.user, action=request.action, since=request.since)


OPERATIONS = [bind(GET_AUDIT, get_audit)]
