"""What the audit log tells of a call: made from what its endpoint declares, for every operation alike."""

from __future__ import annotations

from collections.abc import Mapping

from rafiki.contract.audit import AuditEntry
from rafiki.contract.endpoint import AnyEndpoint, FilePart
from rafiki.entities import User
from rafiki.errors import RafikiError, UnauthorizedError
from rafiki.utils.clock import utc_now


class CallRecord:
    """One call while it is served: who calls, with what, and how it ends."""

    def __init__(self, address: str | None) -> None:
        self.address = address
        self.endpoint: AnyEndpoint | None = None
        """None until it is known which one is called."""
        self.actor: User | None = None
        self.fields: Mapping[str, object] = {}
        """Of the request, as they came."""
        self.answer: object = None
        self.result = "InternalError"
        self._refused_user: str | None = None

    def succeed(self, answer: object) -> None:
        self.answer, self.result = answer, "ok"

    def fail(self, error: RafikiError) -> None:
        self.result = error.code
        if isinstance(error, UnauthorizedError):
            self._refused_user = error.of_user

    def entry(self) -> AuditEntry | None:
        """What the audit log is to hold; None when the call is none for it."""
        if self.endpoint is None or (audited := self.endpoint.audited) is None:
            return None
        if getattr(self.answer, "is_pending", False):
            return None  # Nothing has happened yet.
        subject = {}
        for name in audited.fields:
            value = getattr(self.answer, name, None)
            value = self.fields.get(name) if value is None else value
            if value is not None and not isinstance(value, (FilePart, dict, list)):
                subject[name] = str(value).encode(errors="replace").decode()
        user, user_id = (self.actor.email, self.actor.id) if self.actor else (None, None)
        if self.actor is None and self.endpoint.roles is None:
            # A login: whom it names, though nobody knew who called.
            user, user_id = subject.pop("email", self._refused_user), getattr(self.answer, "user_id", None)
        return AuditEntry(
            time=utc_now(), action=audited.action, user=user, user_id=user_id, address=self.address, subject=subject,
            result=self.result,
        )  # fmt: skip
