"""The ``advisor`` setting of a train job: which scheme searches, with which options, and what else it is given to go
by. Whether it fits the knobs of a model is checked by :mod:`rafiki.advisor.setting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from rafiki.errors import InvalidTrainJobError
from rafiki.knob_specs import Knobs
from rafiki.utils.nearest import ROUGHLY_ALIKE, did_you_mean
from rafiki.utils.values import JsonObject

AUTO = "auto"
"""No scheme's name: the one that the knobs ask for."""
_MOST_FIRST = 1000


class EarlyEnding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When trials end before their training is over. Only models that report intermediate scores are touched."""

    rule: str = AUTO
    """``auto`` is the rule of the scheme."""
    options: JsonObject = {}
    """The rule's own options. Those of Rafiki's own rules may be beside ``rule`` instead."""
    min_step: Annotated[float, Meta(gt=0.0)] | None = None
    """No trial is judged before this step."""
    min_trials: Annotated[int, Meta(ge=1)] | None = None
    """median: how many trials must have finished before any is judged."""
    eta: Annotated[float, Meta(gt=1.0)] | None = None
    """asha: one trial in so many goes on at each rung."""

    def options_of(self, names: Iterable[str]) -> JsonObject:
        """The options for a rule that has those of these names."""
        beside = (("min_step", self.min_step), ("min_trials", self.min_trials), ("eta", self.eta))
        # What stands beside `rule` may be meant for another one: for that of the scheme, when the rule is `auto`.
        given: JsonObject = {k: v for k, v in beside if v is not None and k in names}
        return given | self.options


class AdvisorSetting(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """As a job gives it; see :func:`parse_setting`."""

    scheme: str = AUTO
    """The search scheme; ``auto`` is the one that the knobs ask for."""
    options: JsonObject = {}
    """The scheme's own options."""
    early_ending: EarlyEnding = EarlyEnding()
    """When trials end before their training is over."""
    first_knobs: list[Knobs] = []
    """Knobs to try first, in this order; a knob that one leaves out is drawn."""
    warm_start: bool = False
    """Whether to learn from the trials of earlier jobs of the same app, model, data and train arguments."""

    @classmethod
    def from_request(cls, given: str | Mapping[str, object]) -> AdvisorSetting:
        """The setting that a request gives; see :func:`parse_setting`."""
        return parse_setting(given)


def parse_setting(given: object) -> AdvisorSetting:
    """The setting from its JSON form: nothing, the name of a scheme, or an object of the fields of
    :class:`AdvisorSetting`.

    Raises:
        InvalidTrainJobError: naming the field that is unknown, or whose value is wrong.
    """
    if given is None:
        return AdvisorSetting()
    if isinstance(given, AdvisorSetting):
        return given
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
        from rafiki.utils.mismatch import explain_mismatch

        reason = explain_mismatch(given, AdvisorSetting, e)
        raise InvalidTrainJobError(f"Field 'advisor': {reason}.") from e
    if len(setting.first_knobs) > _MOST_FIRST:
        raise InvalidTrainJobError(
            f"Field 'advisor': first_knobs has {len(setting.first_knobs)} entries; {_MOST_FIRST} are the most."
        )
    return setting
