"""The ``advisor`` setting of a train job: which scheme searches, with which options, and what else it is given to go
by.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from rafiki.advisor.base import SearchSetup
from rafiki.advisor.options import AshaOptions
from rafiki.advisor.schemes import AUTO, check_scheme, load_advisor, parse_options
from rafiki.advisor.space import SearchSpace
from rafiki.advisor.stopping import AshaRule, MedianRule, NoRule, StoppingRule
from rafiki.errors import InvalidTrainJobError, ModelError
from rafiki.model.knobs import KnobConfig
from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean

_MOST_FIRST = 1000


class EarlyEnding(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When trials end before their training is over. Only models that report intermediate scores are touched."""

    rule: Literal["auto", "none", "median", "asha"] = "auto"
    """``auto`` is the rule of the scheme."""
    min_step: Annotated[float, Meta(gt=0.0)] = 1.0
    """No trial is judged before this step."""
    min_trials: Annotated[int, Meta(ge=1)] = 5
    """median: how many trials must have finished before any is judged."""
    eta: Annotated[float, Meta(gt=1.0)] = 3.0
    """asha: one trial in so many goes on at each rung."""


class AdvisorSetting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """As a job gives it; see :func:`parse_setting`."""

    scheme: str = AUTO
    options: dict[str, Any] = {}
    early_ending: EarlyEnding = EarlyEnding()
    first_knobs: list[dict[str, Any]] = []
    """Knobs to try first, in this order; a knob that one leaves out is drawn."""
    warm_start: bool = False
    """Whether to learn from the trials of earlier jobs of the same app, model, data and train arguments."""

    def to_json(self) -> dict[str, Any]:
        """Plain values; :func:`parse_setting` reads them back."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found

    def check(self, knob_config: KnobConfig, constraints: list[str]) -> None:
        """Whether a model's knobs can be searched so.

        Raises:
            InvalidTrainJobError: naming what does not fit.
        """
        scheme = check_scheme(knob_config, self.scheme)
        options = parse_options(scheme, self.options)
        try:
            space = SearchSpace(knob_config, constraints)
            rng = random.Random(0)
            for no, knobs in enumerate(self.first_knobs, 1):
                try:
                    space.complete(knobs, rng)
                except ModelError as e:
                    raise InvalidTrainJobError(f"first_knobs, entry {no}: {e.message}") from e
            if scheme.is_light:
                setup = SearchSetup(knob_config=knob_config, seed=0, options=options, constraints=tuple(constraints))
                load_advisor(scheme, setup)
        except ModelError as e:
            raise InvalidTrainJobError(e.message) from e

    def make_rule(self, knob_config: KnobConfig) -> StoppingRule:
        """A fresh rule that ends trials early."""
        scheme = check_scheme(knob_config, self.scheme)
        ending = self.early_ending
        match scheme.rule if ending.rule == "auto" else ending.rule:
            case "median":
                return MedianRule(min_trials=ending.min_trials, min_step=ending.min_step)
            case "asha":
                options = parse_options(scheme, self.options)
                if isinstance(options, AshaOptions):
                    return AshaRule(eta=options.eta, min_step=options.min_step)
                return AshaRule(eta=ending.eta, min_step=ending.min_step)
            case _:
                return NoRule()


def parse_setting(given: Any) -> AdvisorSetting:
    """The setting from its JSON form: nothing, the name of a scheme, or an object of the fields of
    :class:`AdvisorSetting`.

    Raises:
        InvalidTrainJobError: naming the field that is unknown, or whose value is wrong.
    """
    if given is None:
        return AdvisorSetting()
    if isinstance(given, str):
        given = {"scheme": given}
    if not isinstance(given, dict):
        raise InvalidTrainJobError(
            f'Field \'advisor\': write the name of a scheme, or an object such as {{"scheme": "tpe"}}; not a '
            f"{type(given).__name__}."
        )
    if isinstance(given.get("early_ending"), str):
        given = {**given, "early_ending": {"rule": given["early_ending"]}}
    for where, fields, kind in (
        ("advisor", given, AdvisorSetting),
        ("advisor.early_ending", given.get("early_ending"), EarlyEnding),
    ):
        known = [f.name for f in msgspec.structs.fields(kind)]
        for name in fields if isinstance(fields, dict) else ():
            if name not in known:
                hint = did_you_mean(str(name), known, f"There are: {', '.join(known)}.", ROUGHLY_ALIKE)
                raise InvalidTrainJobError(f"Field {where!r}: unknown field {name!r}. {hint}")
    try:
        setting = msgspec.convert(given, AdvisorSetting)
    except msgspec.ValidationError as e:
        raise InvalidTrainJobError(f"Field 'advisor': {e}.") from e
    if len(setting.first_knobs) > _MOST_FIRST:
        raise InvalidTrainJobError(
            f"Field 'advisor': first_knobs has {len(setting.first_knobs)} entries; {_MOST_FIRST} are the most."
        )
    return setting
