"""``python -m rafiki.model_check.check_process``: checks one model in a process of its own.

Model code may crash, print, loop or end its process; whoever started this one reports that. A request
(:class:`~rafiki.model_check.checkup.CheckRequest`, JSON) comes on stdin, the events of
:mod:`rafiki.model_check.checkup` go to what was stdout, one JSON value a line, and what the model logs as
``{"event": "log", "line": str}``. What it prints goes to stderr. The exit code says nothing: the last event does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import Any

from rafiki.utils.request_process import claim_stdout, read_request


def main() -> None:
    events = claim_stdout()
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        # Half a surrogate pair, as in what an exception of the model says, would keep the event from travelling.
        line = json.dumps(event, default=str, ensure_ascii=False).encode(errors="replace")
        with lock:
            events.write(line + b"\n")
            events.flush()

    from rafiki.errors import RafikiError
    from rafiki.model.logger import log_line, logger
    from rafiki.model_check.checkup import CheckRequest, Checkup

    request = read_request(CheckRequest)
    logger.set_sink(lambda entry: emit({"event": "log", "line": log_line(entry)}))
    try:
        Checkup(request, emit).run()
    except RafikiError:
        pass  # It has been emitted as an event.
    except Exception as e:
        emit({"event": "failed", "name": "", "method": "", "reason": f"{type(e).__name__}: {e}", "advice": "",
              "is_usage": False, "frames": [], "knobs": None})  # fmt: skip
        raise
    # No clean-up: threads that the model started must not keep this process.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
