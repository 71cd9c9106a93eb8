"""A real stack sends one trace of a request, through all its processes, to a receiver."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support.http.otlp_receiver import OtlpReceiver
from support.stacks.running_stack import MODELS, RunningStack, eventually

pytestmark = [pytest.mark.acceptance, pytest.mark.long]

APP = "traced"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_a_receiver_gets_one_trace_of_a_request_with_the_spans_of_boxes_and_of_model_code(tmp_path: Path) -> None:
    receiver = OtlpReceiver()
    (tmp_path / "headers").write_text("api-key: secret-of-the-receiver\n")
    settings = {
        "tracing": {"endpoint": receiver.endpoint, "ratio": 0.0, "headers_file": str(tmp_path / "headers")},
        # A box where there are some, without a network.
        "container": {"sandbox": "auto"},
    }
    stack = RunningStack(tmp_path / "stack", settings)
    try:
        stack.up()
        client = stack.client()
        data = tmp_path / "data"
        data.write_text("data")
        dataset = client.create_dataset("data", "CUSTOM", str(data))["id"]
        model = client.create_model("traced", "CUSTOM", str(MODELS / "traced.py"), "Traced")
        assert model["load_error"] is None
        client.create_train_job(APP, "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 2}, [model["id"]])
        eventually(lambda: client.get_train_job(APP)["status"] == "STOPPED", "the end of the job")
        address = client.create_inference_job(APP)["predictor_host"]
        eventually(lambda: not httpx.get(f"http://{address}/").json()["absent"], "a predictor with all members")
        n_members = len(httpx.get(f"http://{address}/").json()["members"])
        parent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        answer = httpx.post(f"http://{address}/predict", json={"query": 1}, headers=parent, timeout=60)
        assert answer.status_code == 200
        assert httpx.post(f"http://{address}/predict", json={"query": 2}, timeout=60).status_code == 200
        n_spans = 1 + 5 * n_members
        eventually(lambda: len(receiver.trace(TRACE)) >= n_spans, "the trace arrives")
        spans = receiver.trace(TRACE)
        assert len(spans) == len(receiver.spans) == n_spans, "chance traces nothing"
        by_id = {span.id: span for span in spans}
        chains = set()
        for span in spans:
            names = [span.name]
            while (above := by_id.get(span.parent_id)) is not None:
                names.append(above.name)
                span = above
            assert span.parent_id.hex() == CALLER
            chains.add(" < ".join(names))
        assert chains == {
            "POST /predict", "ask traced < POST /predict", "queue < ask traced < POST /predict",
            "answer < ask traced < POST /predict", "predict < answer < ask traced < POST /predict",
            "look up < predict < answer < ask traced < POST /predict",
        }  # fmt: skip
        assert {(s.service, s.attributes["rows"]) for s in spans if s.name == "look up"} == {("rafiki-worker", 1)}
        assert {s.service for s in spans if s.name == "POST /predict"} == {"rafiki-predictor"}
        assert receiver.headers[0]["api-key"] == "secret-of-the-receiver"
        assert "secret-of-the-receiver" not in stack.logs()
    finally:
        stack.down()
        receiver.close()
