"""mosec: a Rust front, and one worker process."""

import sys

import served
from mosec import Server, Worker

_config = served.read_config()


class Predict(Worker):
    def __init__(self):
        super().__init__()
        self._served = served.Served(_config)

    def deserialize(self, data):
        return served.decode(data).query

    def serialize(self, data):
        return served.encode({"prediction": data})

    def forward(self, data):
        # Without batches it is one query.
        return self._served.predict([data])[0] if _config.batch == 1 else self._served.predict(data)


if __name__ == "__main__":
    sys.argv += ["--address", "127.0.0.1", "--port", str(_config.port), "--log-level", "warning", "--timeout", "30000"]
    server = Server()
    server.append_worker(Predict, num=1, max_batch_size=_config.batch, max_wait_time=int(_config.wait_ms))
    server.run()
