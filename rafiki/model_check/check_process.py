"""``python -m rafiki.model_check.check_process``: checks one model in a process of its own.

Model code may crash, print, loop or end its process; whoever started this one reports that. A request
(:class:`~rafiki.check_events.CheckRequest`, JSON) comes on stdin, the events of :mod:`rafiki.check_events` go to what
was stdout, one a line. What the model prints goes to stderr. The exit code says nothing: the last event does.
"""

from __future__ import annotations

import os
import sys
import threading

from rafiki.check_events import CheckEvent, CheckFailed, CheckRequest, ModelLogged, encode_event
from rafiki.utils.request_process import claim_stdout, read_request


def main() -> None:
    events = claim_stdout()
    lock = threading.Lock()

    def emit(event: CheckEvent) -> None:
        line = encode_event(event)
        with lock:
            events.write(line + b"\n")
            events.flush()

    from rafiki.errors import RafikiError
    from rafiki.model.logger import log_line, logger
    from rafiki.model_check.checkup import Checkup

    request = read_request(CheckRequest)
    logger.set_sink(lambda entry: emit(ModelLogged(line=log_line(entry))))
    try:
        Checkup(request, emit).run()
    except RafikiError:
        pass  # It has been emitted as an event.
    except Exception as e:
        emit(CheckFailed(name="", method="", reason=f"{type(e).__name__}: {e}"))
        raise
    # No clean-up: threads that the model started must not keep this process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
