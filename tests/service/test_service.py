"""What the frame of the services promises, with real processes and a real cache: see :mod:`rafiki.service`."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.services.started_services import Services, of_this_version
from support.stacks.running_stack import eventually
from support.stores.own_cache import OwnCache

from rafiki.constants import ExitCode
from rafiki.errors import CacheUnavailableError, ContainerError, ModelError
from rafiki.messages import EnsembleMember, PredictorSpec
from rafiki.service import Outage
from rafiki.utils.clock import Deadline
from rafiki.utils.ids import new_id
from rafiki.utils.process import ServiceStopped, StopSignal
from rafiki.utils.sockets import any_free_port

BUSY = "import time\nend = time.monotonic() + 60\n"
SIGNALS = pytest.mark.parametrize("signal_no", [signal.SIGTERM, signal.SIGINT])


def test_a_service_that_has_done_its_work_ends_with_0_and_cleans_up_in_reverse_order(services: Services) -> None:
    spec = services.script(
        "service.on_exit(lambda: print('first'))\nservice.on_exit(lambda: print('second'))\nservice.report_running()"
    )
    assert services.run(spec) == 0
    assert services.log(spec) == "second\nfirst\n"


def test_the_heartbeat_begins_when_the_service_says_so(services: Services) -> None:
    spec = services.script(
        "print('loads', flush=True)\n"
        "service.stop.wait(0.5)\n"
        "service.report_running()\n"
        "with service.stop.interruptible(): service.stop.wait(60)"
    )
    child = services.start(spec)
    services.wait_for_log(spec, "loads")
    assert services.report(spec) is None
    eventually(lambda: services.report(spec) == of_this_version(state="running"), "a heartbeat")
    child.terminate()
    assert child.wait(30) == 0


def test_what_a_service_and_its_children_use_is_told_with_its_heartbeat(services: Services) -> None:
    spec = services.script(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'held = bytearray(200 << 20)\\nwhile True: pass'])\n"
        "service.on_exit(child.kill)\n"
        "service.report_running()\n"
        "with service.stop.interruptible(): service.stop.wait(60)",
        heartbeat_s=0.5,
    )
    child = services.start(spec)

    def told() -> bool:
        report = services.whole_report(spec)
        return report is not None and (report.memory_bytes or 0) > 200 << 20 and (report.cores or 0.0) > 0.05

    eventually(told, "the memory and the processor time of its child")
    child.terminate()
    assert child.wait(30) == 0


def test_a_service_whose_datasets_are_on_their_way_says_so_and_then_that_it_starts(services: Services) -> None:
    spec = services.script(
        "with service.preparing():\n"
        "    print('fetches', flush=True)\n"
        "    service.stop.wait(2)\n"
        "print('loads', flush=True)\n"
        "with service.stop.interruptible(): service.stop.wait(60)"
    )
    child = services.start(spec)
    eventually(lambda: services.report(spec) == of_this_version(state="preparing"), "the word that it prepares")
    eventually(lambda: services.report(spec) == of_this_version(state="starting"), "the word that it starts")
    child.terminate()
    assert child.wait(30) == 0


@pytest.mark.parametrize(("error", "is_permanent"), [("StoreFullError", False), ("InvalidTrialError", True)])
def test_a_failure_of_the_host_is_none_of_the_spec(services: Services, error: str, is_permanent: bool) -> None:
    spec = services.script(
        f"from rafiki.errors import {error}\nwith service.permanent_failures():\n    raise {error}('it is full')"
    )
    assert services.run(spec) != 0
    assert services.report(spec) == of_this_version(state="failed", reason="it is full", is_permanent=is_permanent)


@SIGNALS
def test_the_first_signal_interrupts_a_wait_and_the_exit_code_is_0(services: Services, signal_no: int) -> None:
    spec = services.script(
        "import time\nservice.on_exit(lambda: print('cleaned up'))\n"
        "with service.stop.interruptible():\n    print('ready', flush=True)\n    time.sleep(60)"
    )
    child = services.start(spec)
    services.wait_for_log(spec, "ready")
    child.send_signal(signal_no)
    assert child.wait(30) == 0
    assert services.log(spec) == "ready\ncleaned up\n"


def test_a_signal_that_comes_before_the_wait_ends_it_too(services: Services) -> None:
    spec = services.script(
        "import time\nprint('ready', flush=True)\nwhile not service.stop.wait(60): pass\n"
        "with service.stop.interruptible(): time.sleep(60)"
    )
    child = services.start(spec)
    services.wait_for_log(spec, "ready")
    child.terminate()
    assert child.wait(30) == 0


@SIGNALS
def test_the_second_signal_ends_the_process_at_once(services: Services, signal_no: int) -> None:
    spec = services.script(
        f"{BUSY}service.on_exit(lambda: print('cleaned up'))\n"
        "service.stop.on_stop(lambda: print('asked', flush=True))\n"
        "print('ready', flush=True)\nwhile time.monotonic() < end: pass"
    )
    child = services.start(spec)
    services.wait_for_log(spec, "ready")
    child.send_signal(signal_no)
    services.wait_for_log(spec, "asked")
    assert child.poll() is None
    child.send_signal(signal_no)
    assert child.wait(30) == 128 + signal_no
    assert "cleaned up" not in services.log(spec)


def test_a_callback_of_the_stop_signal_runs_at_once_when_the_signal_came_already(services: Services) -> None:
    spec = services.script(
        "import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\nservice.stop.on_stop(lambda: print('asked'))"
    )
    assert services.run(spec) == 0
    assert services.log(spec) == "asked\n"


@pytest.mark.parametrize("is_running", [True, False])
def test_a_failure_is_logged_and_reported_with_its_message_and_exit_code(services: Services, is_running: bool) -> None:
    start = "service.report_running()\n" if is_running else ""
    spec = services.script(
        f"from rafiki.errors import CacheUnavailableError\n{start}raise CacheUnavailableError('The cache is away.')"
    )
    assert services.run(spec) == CacheUnavailableError.exit_code
    assert services.messages(spec) == ["error: The cache is away."]
    assert services.report(spec) == of_this_version(state="failed", reason="The cache is away.")


def test_a_failure_that_would_come_again_is_reported_as_permanent(services: Services) -> None:
    spec = services.script(
        "from rafiki.errors import ModelError\nwith service.permanent_failures(): raise ModelError('No such class.')"
    )
    assert services.run(spec) == ModelError.exit_code
    assert services.report(spec) == of_this_version(state="failed", reason="No such class.", is_permanent=True)


@pytest.mark.parametrize(
    ("line", "what"),
    [("1 / 0", "ZeroDivisionError: division by zero"), ("raise SystemExit(0)", "SystemExit: 0")],
)
def test_an_unexpected_failure_is_never_lost(services: Services, line: str, what: str) -> None:
    spec = services.script(f"service.report_running()\nservice.on_exit(lambda: print('cleaned up'))\n{line}")
    assert services.run(spec) == ExitCode.FAILURE
    log = services.log(spec)
    assert "unexpected: " in log
    assert 'File "script.py", line 3' in log
    assert what in log
    assert log.endswith("cleaned up\n")
    report = services.report(spec)
    assert report is not None
    assert (report.state, report.is_permanent) == ("failed", False)
    assert report.reason == f"it failed unexpectedly: {what}; its log holds the details"


def test_a_clean_up_that_fails_is_logged_and_changes_nothing_else(services: Services) -> None:
    spec = services.script("service.on_exit(lambda: print('cleaned up'))\nservice.on_exit(lambda: exit(3))")
    assert services.run(spec) == 0
    assert "SystemExit: 3" in services.log(spec)
    assert services.log(spec).endswith("cleaned up\n")


def test_a_cache_that_is_away_loses_the_report_but_not_the_log(own_cache: OwnCache, tmp_path: Path) -> None:
    services = Services(own_cache, tmp_path)
    own_cache.kill()
    spec = services.script("from rafiki.errors import ModelError\nraise ModelError('No such class.')")
    assert services.run(spec) == ModelError.exit_code
    assert services.messages(spec) == ["error: No such class."]


@pytest.mark.parametrize("content", [None, b"", b"\x80"])
def test_a_service_without_a_spec_that_can_be_read_is_a_usage_error(
    services: Services, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "broken.spec"
    if content is not None:
        file.write_bytes(content)
    for arguments in ([str(file)], []):
        done = subprocess.run([sys.executable, "-m", "rafiki.worker.train", *arguments], capture_output=True, text=True)
        assert done.returncode == ExitCode.USAGE
        assert done.stderr.startswith("error: ")


# ---- outages


def test_an_outage_that_lasts_too_long_raises_the_error_and_one_that_ended_is_forgotten() -> None:
    outage, error = Outage(StopSignal(), give_up_s=0.2), CacheUnavailableError("away")
    deadline = Deadline(30.0)
    outage.wait(error)
    outage.end()
    with pytest.raises(CacheUnavailableError) as caught:
        while not deadline.is_over():
            outage.wait(error)
    assert caught.value is error
    outage.end()
    outage.wait(error)


def test_a_stop_signal_ends_the_wait_of_an_outage() -> None:
    stop = StopSignal()
    stop._event.set()
    with pytest.raises(ServiceStopped):
        Outage(stop).wait(CacheUnavailableError("away"))


# ---- the predictor: an event loop in the same frame


def predictor(services: Services, port: int) -> PredictorSpec:
    return PredictorSpec(
        service_id=new_id(), job_id=services.job_id, cache=services.job, heartbeat_s=0.05, task="CUSTOM",
        host="127.0.0.1", port=port, deadline_s=1.0, max_waiting=10, max_body_mb=1,
        members=[EnsembleMember(trial_id="t", model_name="m", score=0.5)],
    )  # fmt: skip


@SIGNALS
def test_a_predictor_ends_with_0_when_it_is_asked_to(services: Services, signal_no: int) -> None:
    spec = predictor(services, any_free_port())
    child = services.start(spec, "rafiki.predictor")
    eventually(lambda: services.report(spec) is not None, "a heartbeat")
    child.send_signal(signal_no)
    assert child.wait(30) == 0
    assert services.log(spec) == ""


@pytest.mark.parametrize("wait_s", [i * 0.01 for i in range(6)])
def test_a_predictor_that_is_asked_to_end_while_it_starts_does(services: Services, wait_s: float) -> None:
    # From the moment in which the frame has the signals: before that, the default ends the process.
    spec = predictor(services, any_free_port())
    child = services.start(spec, "rafiki.predictor")
    has_signals = Path(f"/proc/{child.pid}/status")
    if not has_signals.exists():
        pytest.skip("needs /proc")

    def catches_sigterm() -> bool:
        caught = next(line for line in has_signals.read_text().splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    eventually(catches_sigterm, "the frame's signals")
    try:
        child.wait(wait_s)
    except subprocess.TimeoutExpired:
        child.terminate()
    assert child.wait(30) == 0


def test_a_port_that_is_taken_is_reported_and_may_be_tried_again(services: Services) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = predictor(services, port)
        assert services.run(spec, "rafiki.predictor") == ContainerError.exit_code
    reason = f"The predictor cannot listen on 127.0.0.1:{port}: Address already in use."
    assert services.messages(spec) == [f"error: {reason}"]
    assert services.report(spec) == of_this_version(state="failed", reason=reason)
