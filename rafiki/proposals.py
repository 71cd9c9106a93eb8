"""What an advisor proposes for a trial, as it travels from the search to the meta store, the workers and the users."""

from __future__ import annotations

import msgspec

from rafiki.constants import SharePolicy
from rafiki.knob_specs import Knobs
from rafiki.utils.values import JsonObject


class Proposal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One point of the search space to try, and how the advisor came to it."""

    knobs: Knobs
    """A value for every knob of the model, policies included."""
    scheme: str = ""
    """The search scheme."""
    phase: str = ""
    """The part of the search that it belongs to, by the scheme's own name: ``initial``, ``search``, ``final``."""
    scheme_state: JsonObject = {}
    """What the scheme needs of it when the search is restored: small JSON, of the scheme's own."""
    start_from: SharePolicy | None = None
    """Shared parameters of earlier trials that this one starts from; None = afresh."""
    start_from_trial: int | None = None
    """The trial of this search whose own parameters this one starts from; None = :attr:`start_from` decides."""
    start_from_params: str | None = None
    """Where the parameter store keeps those, once the search has looked it up."""
