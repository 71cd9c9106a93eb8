"""Records as lines for people, as JSON lines, and as the messages of a command line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest

from rafiki.utils.logs import _context, bind_log_fields, message_of

SET_UP = "import logging; from rafiki.utils.logs import *; log = logging.getLogger('rafiki.part')\n"


def written(code: str, format: str = "text", level: str = "info", **fields: Any) -> list[str]:
    """What a process writes to stderr that sets its log up and runs ``code``."""
    given = "".join(f", {name}={value!r}" for name, value in fields.items())
    script = f"{SET_UP}set_up_logging({format!r}, {level!r}{given})\n{code}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stderr.decode().splitlines()


def entries(code: str, **fields: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(code, "json", **fields)]


FAILS = """
try:
    {}["a\\udc80"]
except KeyError as e:
    log_unexpected(log, e)
"""


def test_a_line_for_people_is_time_level_and_message() -> None:
    [line] = written("log.info('port %d', 3000)")
    assert line[:10].count("-") == 2 and line[10:20].count(":") == 2
    assert line[20:] == "INFO    port 3000"


def test_a_line_for_people_names_the_trial() -> None:
    [before, within, after] = written(
        "log.warning('a')\nwith log_fields(trial=12):\n    log.warning('b')\nlog.error('c')"
    )
    assert [before[20:], within[20:], after[20:]] == ["WARNING a", "WARNING trial 12: b", "ERROR   c"]


def test_a_traceback_follows_a_line_for_people() -> None:
    lines = written(FAILS)
    assert lines[0][20:] == "ERROR   unexpected: KeyError: 'a\\udc80'"
    assert lines[1] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'a\\udc80'"


def test_a_json_line_has_all_fields_and_null_for_what_does_not_apply() -> None:
    [entry] = entries("log.info('port %d', 3000)")
    time = entry.pop("time")
    assert (len(time), time[10], time[-1]) == (24, "T", "Z")
    assert entry == {
        "level": "INFO", "logger": "rafiki.part", "message": "port 3000", "service": None, "kind": None, "job": None,
        "trial": None,
    }  # fmt: skip


def test_the_fields_are_those_of_the_process_unless_a_record_names_others() -> None:
    found = entries(
        "with log_fields(trial=3): log.info('a')\nlog.info('b', extra={'service': 'other', 'job': 'j2'})",
        service="s", kind="train", job="j",
    )  # fmt: skip
    assert [(e["service"], e["kind"], e["job"], e["trial"]) for e in found] == [
        ("s", "train", "j", 3),
        ("other", "train", "j2", None),
    ]


def test_a_traceback_is_part_of_one_json_line() -> None:
    [entry] = entries(FAILS)
    assert entry["message"] == "unexpected: KeyError: 'a\\udc80'"
    assert entry["traceback"].startswith("Traceback (most recent call last):\n")


def test_a_json_line_can_be_read_whatever_the_message_holds() -> None:
    [entry] = entries("log.info('a\\nb \\udc80 \\u2028 é')")
    assert entry["message"] == "a\nb \udc80 \u2028 é"


def test_an_exception_that_ends_a_thread_is_logged() -> None:
    code = "import threading\nt = threading.Thread(target=lambda: 1 / 0, name='beats')\nt.start()\nt.join()"
    [entry] = entries(code)
    assert entry["message"] == "thread beats ended: ZeroDivisionError: division by zero"
    assert "traceback" in entry


@pytest.mark.parametrize(("level", "found"), [("debug", "diwe"), ("info", "iwe"), ("warning", "we"), ("error", "e")])
def test_records_below_the_level_are_not_written(level: str, found: str) -> None:
    code = "log.debug('d')\nlog.info('i')\nlog.warning('w')\nlog.error('e')"
    assert "".join(line[-1] for line in written(code, level=level)) == found


def test_libraries_only_warn() -> None:
    code = "other = logging.getLogger('sqlalchemy.engine')\nother.info('SELECT 1')\nother.warning('slow')"
    [line] = written(code, level="debug")
    assert line[20:] == "WARNING slow"


def test_where_model_code_runs_its_own_logging_is_left_alone() -> None:
    code = "log.info('ours')\nlogging.basicConfig(level='INFO', format='%(message)s')\nlogging.info('theirs')"
    lines = written(code, runs_model_code=True)
    assert [lines[0][20:], *lines[1:]] == ["INFO    ours", "theirs"]


def test_a_stream_that_model_code_closed_stops_nobody() -> None:
    written("import sys\nsys.stderr.close()\nlog.error('unheard')\nsys.stderr = None", runs_model_code=True)


def test_command_lines_log_as_they_print_their_messages() -> None:
    assert written("log.warning('destroy() failed')", "messages") == ["warning: destroy() failed"]


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_message_of_a_line_is_what_it_says(format: str) -> None:
    lines = written("log.info('a')\nlog.warning('b')\nlog.error('c')", format)
    assert [message_of(line) for line in lines] == ["a", "warning: b", "error: c"]


@pytest.mark.parametrize(
    "line", ["", "Traceback:", "{", "{}", '{"level": 1}', "[1]", "2026-11-30 06:00:00 a library's"]
)
def test_a_line_of_another_form_is_its_own_message(line: str) -> None:
    assert message_of(line) == line


def test_tasks_of_one_loop_have_fields_of_their_own() -> None:
    async def task(trial: int) -> Any:
        bind_log_fields(trial=trial)
        await asyncio.sleep(0)
        return _context.get()["trial"]

    async def both() -> list[Any]:
        return await asyncio.gather(task(1), task(2))

    assert asyncio.run(both()) == [1, 2]
