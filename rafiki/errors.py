"""One tree of errors. The class name is the wire name, the class docstring is the default message.

Each class says how it travels: ``http_status`` in a response of the admin or predictor, ``exit_code`` out of a
process. A client turns the name in a body back into the same class with :func:`error_from_wire`.
"""

from typing import Self

from rafiki.constants import ExitCode


class RafikiError(Exception):
    """Something went wrong in Rafiki."""

    http_status: int = 400
    exit_code: ExitCode = ExitCode.FAILURE

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        super().__init__(self.message)

    @property
    def code(self) -> str:
        """The class name, which clients match on."""
        return type(self).__name__

    @classmethod
    def not_found(cls, message: str) -> Self:
        """The error for a name or id that means nothing: status 404, and an exit code of its own."""
        error = cls(message)
        error.http_status = _NOT_FOUND_STATUS
        error.exit_code = ExitCode.NOT_FOUND
        return error

    def with_name(self) -> Self:
        """The same error, whose ``str()`` also holds the name of its class: users of the client match on that."""
        self.args = (f"{self.message} ({self.code})",)
        return self

    def with_message(self, message: str) -> Self:
        """The same error in other words: of its class, and it travels as this one does."""
        error = type(self).__new__(type(self))
        error.__dict__.update(self.__dict__, message=message)
        error.args = (message,)
        return error


_NOT_FOUND_STATUS = 404
_FORBIDDEN_STATUS = 403


# ---- requests that the admin refuses ------------------------------------------------------------------------------


class RequestRefusedError(RafikiError):
    """The request was understood and refused."""

    exit_code = ExitCode.REFUSED


class InvalidRequestError(RequestRefusedError):
    """The request is malformed: a field is missing, unknown or of the wrong type."""


class RequestTooLargeError(RequestRefusedError):
    """The request is larger than this server takes."""

    http_status = 413


class HeadersTooLargeError(RequestRefusedError):
    """The request's first line and headers are larger than this server takes."""

    http_status = 431


class UnsupportedEncodingError(RequestRefusedError):
    """The body is compressed in a way that this server does not read. Send it as it is, or with gzip."""

    http_status = 415


class RequestTimeoutError(RequestRefusedError):
    """The request did not come whole in time."""

    http_status = 408


class TooManyConnectionsError(RafikiError):
    """This server has as many connections as it takes. Close some, or try again later."""

    http_status = 503
    exit_code = ExitCode.UNREACHABLE


class NotFoundError(RequestRefusedError):
    """There is no such page or endpoint."""

    http_status = 404
    exit_code = ExitCode.NOT_FOUND


class MethodNotAllowedError(RequestRefusedError):
    """This path does not take that HTTP method."""

    http_status = 405


class BackupRefusedError(RequestRefusedError):
    """The backup cannot be made or restored here."""


class OtherStackError(RequestRefusedError):
    """The request is meant for another stack than the one that answers here."""

    http_status = 421
    exit_code = ExitCode.UNREACHABLE


class UnauthorizedError(RequestRefusedError):
    """You are not allowed to do this. Log in with `rafiki login`, or ask an admin."""

    http_status = 401
    exit_code = ExitCode.UNAUTHORIZED
    of_user: str | None = None
    """Email of whoever was refused, for the audit log, where nobody was logged in."""

    @classmethod
    def forbidden(cls, message: str) -> Self:
        """The error for somebody who is known and may not do this: status 403, since another login of theirs would
        not help."""
        error = cls(message)
        error.http_status = _FORBIDDEN_STATUS
        return error


class InvalidUserError(RequestRefusedError):
    """There is no such user."""

    http_status = 404
    exit_code = ExitCode.NOT_FOUND


class UserExistsError(RequestRefusedError):
    """A user with that email exists already."""

    http_status = 409


class UserAlreadyBannedError(RequestRefusedError):
    """That user is banned already."""

    http_status = 409


class InvalidPasswordError(UnauthorizedError):
    """The email or the password is wrong."""


class TooManyLoginsError(RequestRefusedError):
    """Too many wrong passwords came from this address. Try again later."""

    http_status = 429
    exit_code = ExitCode.UNREACHABLE
    retry_after_s: int = 1


class LoginProviderError(RafikiError):
    """The provider of logins (oidc.issuer) cannot be asked. Logins with passwords go on."""

    http_status = 503
    exit_code = ExitCode.UNREACHABLE


class InvalidApiTokenError(RequestRefusedError):
    """You have no such API token. `rafiki token list` shows those you have."""

    http_status = 404


class ApiTokenExistsError(RequestRefusedError):
    """You have an API token of that name already. Revoke it, or choose another name."""

    http_status = 409


class InvalidKeyError(RequestRefusedError):
    """The app has no such key. `rafiki key list APP` shows those it has."""

    http_status = 404


class InvalidWebhookError(RequestRefusedError):
    """There is no such webhook, or it cannot be made so. `rafiki webhook list` shows those you have."""

    http_status = 404


class KeyExistsError(RequestRefusedError):
    """The app has a key of that name already. Revoke it, or choose another name."""

    http_status = 409


class InvalidModelError(RequestRefusedError):
    """There is no such model, or its file cannot be used."""


class InvalidImageError(InvalidModelError):
    """The image that a model names cannot be used."""


class DuplicateModelNameError(RequestRefusedError):
    """You have a model of that name already. Choose another name or delete the old model."""

    http_status = 409


class ModelUsedError(RequestRefusedError):
    """A train job refers to this model, so it cannot be deleted."""

    http_status = 409


class InvalidDatasetError(RequestRefusedError):
    """There is no such dataset, or its contents are not what its task requires."""


class NoModelsForTrainJobError(RequestRefusedError):
    """No model is available for this task. Upload one with `rafiki model upload`."""


class InvalidTrainJobError(RequestRefusedError):
    """There is no such train job, or it is not in the right state."""


class InvalidEnvironmentError(RequestRefusedError):
    """There is no such environment, or it is being built."""

    http_status = 409


class EnvironmentUsedError(RequestRefusedError):
    """A live job runs in this environment, so it cannot be removed."""

    http_status = 409


class EnvironmentBusyError(RafikiError):
    """Too many environments are waiting to be built. Try again later."""

    http_status = 429
    exit_code = ExitCode.UNREACHABLE


class InvalidTrialError(RequestRefusedError):
    """There is no such trial, or it holds no parameters."""


class InvalidNodeError(RequestRefusedError):
    """There is no such node, or it is not in the right state."""

    http_status = 409


class NodeInUseError(RequestRefusedError):
    """Services run on this node, so it cannot be removed."""

    http_status = 409


class NoClusterError(RequestRefusedError):
    """This stack runs its services on one machine: there are no nodes to add, drain or remove."""

    http_status = 409


class RunningInferenceJobExistsError(RequestRefusedError):
    """An inference job of this train job is already running. Stop it first."""

    http_status = 409


class RolloutExistsError(RequestRefusedError):
    """The app is being updated already. Promote that update or roll it back first."""

    http_status = 409


class InvalidRolloutError(RequestRefusedError):
    """There is no such update, or nothing to go back to."""


class InvalidInferenceJobError(RequestRefusedError):
    """The inference job's budget or fields are wrong."""


class InvalidRunningInferenceJobError(RequestRefusedError):
    """There is no such running inference job."""


# ---- prediction ---------------------------------------------------------------------------------------------------


class InvalidQueryError(RequestRefusedError):
    """The query is not what this task takes."""


class ModelPredictError(RequestRefusedError):
    """The model's predict() failed on this query."""

    http_status = 422


class PredictorBusyError(RafikiError):
    """Too many queries are waiting. Try again in a moment, or raise the number of replicas."""

    http_status = 429
    exit_code = ExitCode.UNREACHABLE


class NoPredictionError(RafikiError):
    """No inference worker answered within the deadline."""

    http_status = 503
    exit_code = ExitCode.UNREACHABLE
    retry_after_s: int | None = None
    """When workers may answer again, where that is known."""


# ---- stores, cache, processes -------------------------------------------------------------------------------------


class IllegalTransitionError(RafikiError):
    """A status change is not allowed from the current status."""

    http_status = 409


class StaleOwnerError(RafikiError):
    """Another process owns this record now; this one must stop."""


class MetaStoreError(RafikiError):
    """The meta store (the database) failed."""

    http_status = 503


class NewerDatabaseError(MetaStoreError):
    """A newer version of Rafiki has written the database, and this one does not know its tables."""


class InvalidServiceError(RafikiError):
    """There is no such service."""

    http_status = 404
    exit_code = ExitCode.NOT_FOUND


class StoreFullError(RequestRefusedError):
    """No space is left on the disk of the stores."""

    http_status = 413


class DamagedFileError(RafikiError):
    """A stored file is damaged: its contents do not match their checksum."""

    http_status = 409


class InvalidParamsError(RafikiError):
    """The parameters of a model hold something that cannot be stored."""


class CacheUnavailableError(RafikiError):
    """The cache (Redis or Valkey) cannot be reached."""

    http_status = 503
    exit_code = ExitCode.UNREACHABLE


class CacheUnfitError(RafikiError):
    """The cache server lacks what Rafiki needs, or does not give it the rights."""

    http_status = 503


class StackUnhealthyError(RafikiError):
    """The stack is not healthy: something that every job needs does not work."""

    http_status = 503
    exit_code = ExitCode.UNHEALTHY


class EnvironmentBuildError(RafikiError):
    """The packages that a model depends on could not be installed."""


class TooManyStreamsError(RafikiError):
    """Too many streams of events are open. Close some, or try again later."""

    http_status = 429
    exit_code = ExitCode.UNREACHABLE


class ContainerError(RafikiError):
    """A service could not be started or stopped."""

    http_status = 503


class ConfigError(RafikiError):
    """rafiki.yaml, or an environment variable that overrides it, is wrong."""

    exit_code = ExitCode.USAGE


class StackError(RafikiError):
    """The stack could not be started or stopped."""


class UnreachableError(RafikiError):
    """No server answers. Is the stack up? Start it with `rafiki up`."""

    exit_code = ExitCode.UNREACHABLE


class StoreUnavailableError(UnreachableError):
    """A store that is elsewhere does not answer, or fails."""

    http_status = 503


class StackDownError(UnreachableError):
    """The stack was stopped with `rafiki down`. Jobs go on at the next `rafiki up`."""

    http_status = 503


class AdminLostError(UnreachableError):
    """The admin hangs, or has ended without `rafiki down`."""

    http_status = 503
    exit_code = ExitCode.UNHEALTHY


class AdminStoppedError(RafikiError):
    """The admin ends, and another takes its place; streams go on there."""

    http_status = 503
    exit_code = ExitCode.UNREACHABLE


class InternalError(RafikiError):
    """Rafiki itself failed. The admin's log holds the details: `rafiki logs admin`."""

    http_status = 500


# ---- model code ---------------------------------------------------------------------------------------------------


class ModelError(RafikiError):
    """The model's code failed; the message names the method and what it did."""


def _tree(root: type[RafikiError]) -> dict[str, type[RafikiError]]:
    found = {root.__name__: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


def error_types() -> dict[str, type[RafikiError]]:
    """Every error class by its wire name."""
    return _tree(RafikiError)


def error_from_wire(code: str, message: str, status: int | None = None) -> RafikiError:
    """The error that another process sent as ``code`` and ``message``, over HTTP with ``status``. Its ``str()`` holds
    the name of its class.

    An unknown code becomes a plain RafikiError.
    """
    found = error_types().get(code)
    if found is None:
        return RafikiError(f"{code}: {message}")
    if status == _FORBIDDEN_STATUS and issubclass(found, UnauthorizedError):
        return found.forbidden(message).with_name()
    error = found.not_found(message) if status == _NOT_FOUND_STATUS else found(message)
    return error.with_name()
