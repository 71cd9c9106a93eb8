"""``python -m rafiki.model_check.inspect_model``: reads one model's knobs in a process that is thrown away afterwards.

A request (:class:`InspectRequest`, JSON) comes on stdin; the answer (:class:`InspectAnswer`, JSON) goes to what was
stdout. Started by :mod:`rafiki.model_check.knob_reader` only, because it runs user code.
"""

from __future__ import annotations

import faulthandler
import os
import resource
from inspect import getattr_static

import msgspec

from rafiki.knob_specs import KnobSpecs
from rafiki.utils.request_process import claim_stdout, read_request


class InspectRequest(msgspec.Struct, kw_only=True):
    model_source: bytes
    model_class: str
    file_name: str
    memory_bytes: int
    """How much private memory the process may use."""
    time_s: float
    """When it ends itself, should its starter have died."""


class InspectAnswer(msgspec.Struct, kw_only=True):
    knob_config: KnobSpecs | None = None
    constraints: list[str] = []
    error: str | None = None


def _limit(request: InspectRequest) -> None:
    # RLIMIT_DATA and not RLIMIT_AS: deep learning packages reserve far more address space than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (request.memory_bytes, request.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cpu_s = int(request.time_s * (os.cpu_count() or 1)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))
    faulthandler.dump_traceback_later(request.time_s, exit=True)


def _inspect(request: InspectRequest) -> InspectAnswer:
    from rafiki.errors import ModelError
    from rafiki.model.constraints import parse_constraints
    from rafiki.model.failures import MODEL_FAILURES
    from rafiki.model.knobs import to_knob_specs
    from rafiki.model.loader import load_model_class, user_traceback

    try:
        model_class = load_model_class(request.model_source, request.model_class, file_name=request.file_name)
    except ModelError as e:
        return InspectAnswer(error=e.message)
    if not isinstance(getattr_static(model_class, "get_knob_config"), (staticmethod, classmethod)):
        return InspectAnswer(error=f"{request.file_name}: get_knob_config() must be a @staticmethod.")
    called = "get_knob_config()"
    try:
        knobs = model_class.get_knob_config()
        knob_config = to_knob_specs(knobs)
        called = "get_knob_constraints()"
        constraints = list(model_class.get_knob_constraints())
        parse_constraints(constraints, knobs)
        return InspectAnswer(knob_config=knob_config, constraints=constraints)
    except MODEL_FAILURES as e:
        return InspectAnswer(error=f"{request.file_name}: {called} failed: {user_traceback(e, request.file_name)}")


def main() -> None:
    channel = claim_stdout()
    request = read_request(InspectRequest)
    _limit(request)
    with channel:
        channel.write(msgspec.json.encode(_inspect(request)))
    # No clean-up: threads that the model started at import must not keep this process.
    os._exit(0)


if __name__ == "__main__":
    main()
