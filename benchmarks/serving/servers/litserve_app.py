"""LitServe: a FastAPI front, and one worker process."""

import litserve
import served

_config = served.read_config()


class Predict(litserve.LitAPI):
    def setup(self, device):
        self._served = served.Served(_config)

    def decode_request(self, request):
        return request["query"]

    def predict(self, x):
        return self._served.predict([x])[0] if _config.batch == 1 else self._served.predict(x)

    def batch(self, inputs):
        return inputs

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return {"prediction": output}


if __name__ == "__main__":
    api = Predict(max_batch_size=_config.batch, batch_timeout=_config.wait_ms / 1000)
    # Its queue between processes over ZeroMQ is the faster of its two.
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=1, timeout=30, fast_queue=True, restart_workers=True
    )
    server.run(host="127.0.0.1", port=_config.port, num_api_servers=1, log_level="warning", generate_client_file=False)
