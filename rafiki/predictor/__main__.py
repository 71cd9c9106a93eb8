"""The predictor's process."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

import uvicorn

from rafiki.cache.heartbeat import Heartbeat
from rafiki.cache.inference import RedisPredictorQueues
from rafiki.contract.http_protocol import RefusingProtocol
from rafiki.errors import ContainerError
from rafiki.messages import PredictorSpec
from rafiki.predictor.app import PredictorApp
from rafiki.predictor.gather import Gather
from rafiki.predictor.meter import Meter, tell
from rafiki.tasks.registry import get_task
from rafiki.utils.sockets import listen
from rafiki.utils.spec import read_spec


async def serve(spec: PredictorSpec, heartbeat: Heartbeat) -> None:
    """Answer requests until SIGTERM or SIGINT."""
    queues = RedisPredictorQueues(spec.cache, spec.service_id)
    gather = Gather(
        queues, [m.trial_id for m in spec.members], max_waiting=spec.max_waiting, start_time_s=spec.deadline_s
    )
    meter, stopped = Meter(), asyncio.Event()
    app = PredictorApp(spec, get_task(spec.task), gather, meter)
    server = uvicorn.Server(
        uvicorn.Config(
            app, http=RefusingProtocol, ws="none", lifespan="off", access_log=False, log_level="warning",
            timeout_keep_alive=75, server_header=False, date_header=False, timeout_graceful_shutdown=2,
        )
    )  # fmt: skip
    sock = listen(spec.host, spec.port)
    gather.start()
    heartbeat.start()
    telling = asyncio.create_task(tell(meter, queues, gather.members, stopped))
    gc.collect()
    gc.freeze()
    await server.serve(sockets=[sock])
    stopped.set()
    # A cache that is away must not keep a predictor from ending.
    await asyncio.wait([telling], timeout=0.5)
    await gather.close()


def main() -> int:
    spec = read_spec(PredictorSpec)
    heartbeat = Heartbeat(spec.cache, spec.service_id, spec.heartbeat_s)
    # uvicorn raises the signal again once it has shut down; ending by it is the orderly end here.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    import uvloop

    try:
        uvloop.run(serve(spec, heartbeat))
    except OSError as e:
        reason = f"The predictor cannot listen on {spec.host}:{spec.port}: {e.strerror or e}."
        sys.stderr.write(f"error: {reason}\n")
        heartbeat.fail(reason)
        return ContainerError.exit_code
    except KeyboardInterrupt:
        pass
    heartbeat.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
