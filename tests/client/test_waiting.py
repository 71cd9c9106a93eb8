"""Waiting for a train job, and the line that tells how it goes."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from support.http.contract_server import ContractServer

from rafiki.client import Client
from rafiki.client.live_line import LiveLine, State
from rafiki.errors import InvalidTrainJobError

JOB = {
    "id": "j1", "app": "demo", "app_version": 1, "status": "RUNNING", "outcome": None, "error": None,
    "budget": {"MODEL_TRIAL_COUNT": 2}, "models": [{"id": "s1"}, {"id": "s2"}],
}  # fmt: skip
ENDED = {**JOB, "status": "STOPPED", "outcome": "COMPLETED"}


def trial(no: int, score: float | None) -> dict[str, Any]:
    status = "RUNNING" if score is None else "COMPLETED"
    return {"id": f"t{no}", "no": no, "model_name": "SkSvm", "status": status, "score": score}


def events(*later: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": "snapshot", "job": JOB, "trials": [trial(1, 0.5), trial(2, None)]}, *later]


END = {"type": "end", "job": ENDED}


def test_it_returns_the_job_and_tells_what_was_reached(
    client: Client, server: ContractServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers["watch_train_job"] = events({"type": "trial", "trial": trial(2, 0.875)}, END)
    assert client.wait_for_train_job("demo")["status"] == "STOPPED"
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "demo/1 RUNNING: 1 of 4 trials, best score 0.5 (SkSvm#1)"
    assert lines[-1] == "demo/1 COMPLETED: 2 of 4 trials, best score 0.875 (SkSvm#2)"
    client.wait_for_train_job("demo", is_quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_job_that_errored_is_an_error_with_its_reason(client: Client, server: ContractServer) -> None:
    errored = {**JOB, "status": "ERRORED", "outcome": "ERRORED", "error": "SkSvm: no such class"}
    server.answers["watch_train_job"] = events({"type": "end", "job": errored})
    with pytest.raises(InvalidTrainJobError, match="demo/1 errored: SkSvm: no such class"):
        client.wait_for_train_job("demo", is_quiet=True)


def test_a_wait_that_is_too_long_ends_and_the_job_goes_on(client: Client, server: ContractServer) -> None:
    def never_ending() -> Iterator[dict[str, Any]]:
        yield events()[0]
        server.is_closed.wait(60)

    server.answers["watch_train_job"] = never_ending()
    with pytest.raises(TimeoutError, match=r"demo/1 RUNNING: 1 of 4 trials.* after 0\.5 s; the job goes on"):
        client.wait_for_train_job("demo", timeout_s=0.5, is_quiet=True)


def test_an_error_of_the_stream_is_raised(client: Client, server: ContractServer) -> None:
    server.answers["watch_train_job"] = InvalidTrainJobError.not_found("no such app")
    with pytest.raises(InvalidTrainJobError, match="no such app"):
        client.wait_for_train_job("other", is_quiet=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_the_line_is_written_over_itself() -> None:
    stream = Terminal()
    line = LiveLine(stream=stream)
    line.show(State("a long line"))
    line.show(State("a long line"))
    line.show(State("short"), is_last=True)
    assert stream.getvalue() == "\ra long line\rshort      \n"


def test_in_a_file_not_every_change_is_a_line_but_the_last_one_is() -> None:
    stream = io.StringIO()
    line = LiveLine(stream=stream)
    for i in range(1000):
        line.show(State(f"{i}"))
    line.show(State("the end"), is_last=True)
    lines = stream.getvalue().splitlines()
    assert (lines[0], lines[-1]) == ("0", "the end")
    assert len(lines) < 1000


def test_in_a_notebook_one_output_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, State]] = []

    class Handle:
        def update(self, state: State) -> None:
            shown.append(("update", state))

    def display(state: State, display_id: bool) -> Handle:
        assert display_id
        shown.append(("display", state))
        return Handle()

    ipython, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    stream = io.StringIO()
    line = LiveLine(stream=stream)
    line.show(State("one", 0.25))
    line.show(State("<two>", None))
    assert [(kind, repr(state)) for kind, state in shown] == [("display", "one"), ("update", "<two>")]
    assert shown[0][1]._repr_html_() == '<progress max=1 value="0.250"></progress> <code>one</code>'
    assert shown[1][1]._repr_html_() == "<progress max=1></progress> <code>&lt;two&gt;</code>"
    assert stream.getvalue() == ""
