"""What the reports of `rafiki run` say when it ends in another way than a job can."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rafiki.constants import ExitCode
from rafiki.errors import UnreachableError
from rafiki_cli.commands import run
from rafiki_cli.jobs.outcome import Outcome


class Runner:
    def __init__(self) -> None:
        self.outcome = Outcome(app="demo")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("a mistake of ours"), ExitCode.FAILURE),
        (UnreachableError("the admin is away"), ExitCode.UNREACHABLE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    ],
)
def test_no_report_calls_a_run_good_that_did_not_end(tmp_path: Path, error: BaseException, code: ExitCode) -> None:
    runner = Runner()
    report, summary = tmp_path / "a" / "junit.xml", tmp_path / "b" / "summary.md"
    with pytest.raises(type(error)), run._writing([runner], report, summary):  # type: ignore[list-item]
        raise error
    assert runner.outcome.exit_code is code
    assert ET.parse(report).getroot().get("errors") == "1"
    assert "❌ demo" in summary.read_text()


def test_control_characters_and_half_letters_do_not_break_the_reports(tmp_path: Path) -> None:
    runner = Runner()
    runner.outcome.exit_code, runner.outcome.message = ExitCode.REFUSED, "bad \x00\x1b[31m \ud800 <&> | `x`"
    with run._writing([runner], tmp_path / "j.xml", tmp_path / "s.md"):  # type: ignore[list-item]
        pass
    [error] = ET.parse(tmp_path / "j.xml").getroot().iter("error")
    assert "<&>" in (error.text or "")
    assert (tmp_path / "s.md").read_text("utf-8")
