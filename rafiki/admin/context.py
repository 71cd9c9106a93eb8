"""What the admin's operations work with."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from rafiki.admin.audit_log import AuditLog
from rafiki.admin.auth import Tokens, hash_api_token, is_api_token
from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.counters import AdminCounters
from rafiki.admin.courier_keeper import CourierKeeper
from rafiki.admin.events import EventHub
from rafiki.admin.health import Health
from rafiki.admin.login_limits import LoginLimits
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.oidc_flows import FlowSeal
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.supervisor import Supervisor
from rafiki.constants import UserType
from rafiki.container.base import ContainerManager
from rafiki.contract.audit import AuditEntry
from rafiki.contract.metrics_access import MetricsToken
from rafiki.data_store.base import DataStore
from rafiki.entities import User
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import MetaStoreError, StoreFullError, UnauthorizedError
from rafiki.meta_store import MetaStore
from rafiki.param_store.base import ParamStore
from rafiki.sandbox.sandbox import Sandbox
from rafiki.settings import Config
from rafiki.stack_folder import StackFolder
from rafiki.utils.clock import utc_now
from rafiki.utils.disk_space import DiskSpace

if TYPE_CHECKING:
    from rafiki.oidc.provider import Provider

_USED_STEP = timedelta(minutes=1)
"""How exactly it is noted when an API token was last used: a write for each request would slow them all."""


class AdminContext(msgspec.Struct, frozen=True, kw_only=True):
    """One stack, as the operations see it."""

    config: Config
    stack_id: str
    folder: StackFolder
    store: MetaStore
    datasets: DataStore
    params: ParamStore
    containers: ContainerManager
    environments: EnvironmentStore
    checks: ModelChecks
    supervisor: Supervisor
    health: Health
    tokens: Tokens
    door: AdminServiceDoor
    hub: EventHub
    disk: DiskSpace
    audit: AuditLog
    keys: PredictorKeys
    courier: CourierKeeper
    job_key: str
    """What secrets of jobs and of webhooks follow from."""
    login_limits: LoginLimits
    flows: FlowSeal
    counters: AdminCounters
    metrics_token: MetricsToken | None = None
    """Opens the metrics."""
    oidc: Provider | None = None
    """Whose accounts may log in; None = there are passwords alone."""
    sandbox: Sandbox | None = None
    """Makes the boxes of model code; None = it runs without one."""
    doors: BoxDoors | None = None

    def note(self, entry: AuditEntry) -> None:
        """Put an entry into the audit log. Waits for the disk."""
        if entry.action == "login":
            self.counters.add_login(entry.result)
        self.audit.note(entry)

    def user_of_token(self, token: str) -> User:
        """Who calls.

        Raises:
            UnauthorizedError: when the token is not valid or its user is banned.
        """
        if is_api_token(token):
            user = self._user_of_api_token(token)
        else:
            user = self.tokens.user_of(token, self.store.users)
        if user.banned_date is not None:
            raise UnauthorizedError("This user is banned.")
        return user

    def _user_of_api_token(self, token: str) -> User:
        found = self.store.api_tokens.find_api_token(hash_api_token(token))
        if found is None:
            raise UnauthorizedError("There is no such API token in this stack. Make one with `rafiki token create`.")
        if found.datetime_revoked is not None:
            raise UnauthorizedError(f"The API token {found.name!r} was revoked. Make one with `rafiki token create`.")
        now = utc_now()
        if found.datetime_expires <= now:
            raise UnauthorizedError(f"The API token {found.name!r} has expired. Make one with `rafiki token create`.")
        # A disk without space must not lock out whoever comes to free some.
        with contextlib.suppress(MetaStoreError, StoreFullError):
            if found.datetime_used is None or found.datetime_used <= now - _USED_STEP:
                self.store.api_tokens.set_api_token_used(found.id, unless_since=now - _USED_STEP)
        return self.store.users.get_user(found.user_id)


def is_admin(user: User) -> bool:
    return user.user_type in (UserType.ADMIN, UserType.SUPERADMIN)
