"""Ray Serve: its proxy, and one replica."""

import signal
import threading

import ray
import served
from ray import serve
from starlette.requests import Request
from starlette.responses import Response

_config = served.read_config()


@serve.deployment(num_replicas=1, max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
class Predict:
    def __init__(self):
        self._served = served.Served(_config)

    @serve.batch(max_batch_size=max(_config.batch, 1), batch_wait_timeout_s=_config.wait_ms / 1000)
    async def _together(self, queries):
        return self._served.predict(queries)

    async def __call__(self, request: Request) -> Response:
        query = served.decode(await request.body()).query
        prediction = self._served.predict([query])[0] if _config.batch == 1 else await self._together(query)
        return Response(served.encode({"prediction": prediction}), media_type="application/json")


if __name__ == "__main__":
    ray.init(include_dashboard=False, num_cpus=2, object_store_memory=100 << 20, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": _config.port, "access_log": False})
    serve.run(Predict.bind(), route_prefix="/predict")
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stopped.wait()
    serve.shutdown()
    ray.shutdown()
