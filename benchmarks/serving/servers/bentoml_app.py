"""BentoML: the HTTP front and the model in one process, which is its faster way for a small model."""

import bentoml
import served

_config = served.read_config()


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 1024}, metrics={"enabled": False})
class Predict:
    def __init__(self):
        self._served = served.Served(_config)

    if _config.batch == 1:
        # As a coroutine: in its pool of threads many small predictions wait for each other.
        @bentoml.api(route="/predict")
        async def predict(self, query: list) -> list:
            return self._served.predict([query])[0]

    else:
        # What it joins into batches are lists: a request is a batch of one.
        @bentoml.api(route="/predict", batchable=True, max_batch_size=_config.batch, max_latency_ms=1000)
        async def predict(self, query: list) -> list:
            return self._served.predict(query)
