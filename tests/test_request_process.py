"""A process of its own for one request: its answer, or why there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rafiki.utils.request_process import RequestProcessError, ask_process

MODULE = """
import sys, msgspec
from rafiki.utils.request_process import answer_request

class Request(msgspec.Struct):
    do: str

def answer(request):
    match request.do:
        case "fail":
            raise ValueError("no such thing")
        case "loop":
            import threading; threading.Event().wait()
        case "exit":
            sys.exit(3)
    return [request.do]

if __name__ == "__main__":
    sys.exit(answer_request(Request, answer))
"""


class Request(msgspec.Struct):
    do: str


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "one_request.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "one_request"


def test_a_request_is_answered(module: str) -> None:
    assert ask_process(module, Request("work"), list[str], 30.0) == ["work"]


@pytest.mark.parametrize(
    ("do", "kind", "timeout_s", "reason"),
    [
        ("fail", list[str], 30.0, "ValueError: no such thing"),
        ("exit", list[str], 30.0, "exit status 3"),
        ("loop", list[str], 1.0, "timed out"),
        ("work", dict[str, str], 30.0, ""),
    ],
)
def test_a_process_that_gives_no_answer_tells_why(
    module: str, do: str, kind: type, timeout_s: float, reason: str
) -> None:
    with pytest.raises(RequestProcessError) as caught:
        ask_process(module, Request(do), kind, timeout_s)
    assert reason in str(caught.value)


def test_what_is_printed_does_not_reach_the_answer() -> None:
    code = (
        "import os\nfrom rafiki.utils.request_process import claim_stdout\nchannel = claim_stdout()\n"
        "print('printed', flush=True)\nos.system('echo of a child')\nwith channel: channel.write(b'answer')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("answer", "printed\nof a child\n")
