"""A real Prometheus scrapes a real stack as docs/howto/prometheus.md says, and answers what operators ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.services.prometheus_server import PrometheusServer, check_metrics
from support.stacks.running_stack import MODELS, RunningStack, eventually

from rafiki.client import Client
from rafiki.contract.metrics import ADMIN_METRICS, PREDICTOR_METRICS

pytestmark = pytest.mark.acceptance

APP, TOKEN = "digits", "a-token-of-the-metrics"
OF_SOME = {"rafiki_predictor_shadow_answers", "rafiki_predictor_cached_queries"}
"""There where a deployment has a shadow, or a prediction cache."""
HOWTO = Path(__file__).parents[2] / "docs" / "howto" / "prometheus.md"


def scrape_configs(admin: str, token_file: Path) -> list[dict[str, Any]]:
    """The first configuration of the guide, with the address and the token of this stack."""
    text = re.findall(r"^```yaml\n(.*?)^```$", HOWTO.read_text("utf-8"), re.MULTILINE | re.DOTALL)[0]
    configs: list[dict[str, Any]] = yaml.safe_load(text.replace("127.0.0.1:3000", admin))["scrape_configs"]
    credentials = {"authorization": {"type": "Bearer", "credentials_file": str(token_file)}}
    for config in configs:
        config.update(credentials)
        for discovery in config.get("http_sd_configs", []):
            discovery.update(credentials, refresh_interval="1s")
    return configs


def queries_of_the_guide() -> list[str]:
    found = re.findall(r"^\| .* \| `(.*)` \|$", HOWTO.read_text("utf-8"), re.MULTILINE)
    assert len(found) >= 10
    return found


class Scene:
    """A stack that serves an app, and a Prometheus that scrapes it."""

    def __init__(self, folder: Path) -> None:
        token_file = folder / "token"
        token_file.write_text(TOKEN)
        self.stack = RunningStack(folder / "stack", {"metrics": {"token_file": str(token_file)}})
        self.stack.up()
        self.client = self.stack.client()
        data = folder / "data"
        data.write_text("data")
        dataset = self.client.create_dataset("data", "CUSTOM", str(data))["id"]
        model = self.client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
        self.client.create_train_job(APP, "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 3}, [model])
        eventually(lambda: self.client.get_train_job(APP)["status"] == "STOPPED", "the end of the job")
        self.address: str = self.client.create_inference_job(APP)["predictor_host"]
        eventually(lambda: httpx.get(f"http://{self.address}/readyz").status_code == 200, "a predictor that is ready")
        self.admin = f"127.0.0.1:{self.stack.port}"
        self.prometheus = PrometheusServer(folder / "prometheus", scrape_configs(self.admin, token_file))

    def close(self) -> None:
        self.prometheus.close()
        self.stack.down()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("watched"))
    yield made
    made.close()


@pytest.mark.parametrize("kind", ["admin", "predictor"])
def test_promtool_finds_nothing_wrong_with_the_names_and_the_text(scene: Scene, kind: str) -> None:
    address = scene.admin if kind == "admin" else scene.address
    assert httpx.get(f"http://{address}/metrics").status_code == 401
    answer = httpx.get(f"http://{address}/metrics", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    assert check_metrics(answer.text) == ""


def test_prometheus_knows_what_the_stack_did_and_sees_predictors_come_and_go(scene: Scene) -> None:
    asked = scene.prometheus
    asked.eventually("up", {(): 1.0, (APP,): 1.0})
    for n in range(5):
        assert httpx.post(f"http://{scene.address}/predict", json={"queries": [n, n]}).status_code == 200
    assert httpx.post(f"http://{scene.address}/predict", json={}).status_code == 400
    with pytest.raises(Exception, match="assword"):
        Client("127.0.0.1", scene.stack.port).login("superadmin@rafiki", "wrong")
    # What a predictor answered, how long it took, in which batches, and by whom.
    asked.eventually("sum by (code) (rafiki_predictor_requests_total)", {("200",): 5.0, ("400",): 1.0})
    asked.eventually("sum by (app) (rafiki_predictor_request_duration_seconds_count)", {(APP,): 5.0})
    asked.eventually("sum(rafiki_predictor_queries_total)", {(): 10.0})
    asked.eventually('sum by (result) (rafiki_predictor_member_queries_total{result!="answered"} > 0)', {})
    n_members = len(httpx.get(f"http://{scene.address}/").json()["members"])
    asked.eventually("sum(rafiki_predictor_batch_queries_sum)", {(): 10.0 * n_members})
    asked.eventually("sum(rafiki_predictor_member_workers) > 0", {(): float(len(scene.stack.processes("inference")))})
    asked.eventually("rafiki_predictor_ready", {(APP,): 1.0})
    # What the stack has done, and how it stands.
    asked.eventually('rafiki_trials{status="COMPLETED"}', {("COMPLETED",): 3.0})
    asked.eventually('rafiki_jobs == 1 and rafiki_jobs{kind="train"}', {("train", "STOPPED"): 1.0})
    asked.eventually('rafiki_services{status="RUNNING", type="PREDICT"}', {("RUNNING", "PREDICT"): 1.0})
    asked.eventually("rafiki_part_up", {("cache",): 1.0, ("database",): 1.0, ("supervisor",): 1.0})
    asked.eventually('rafiki_admin_logins_total{result!="ok"}', {("InvalidPasswordError",): 1.0})
    asked.eventually("sum(increase(rafiki_supervisor_look_duration_seconds_count[1m])) > bool 0", {(): 1.0})
    asked.eventually("count(rafiki_disk_free_bytes > 0) > bool 0", {(): 1.0})
    scene.stack.kill_one("inference")
    asked.eventually('rafiki_service_restarts_total{type="INFERENCE"}', {("INFERENCE",): 1.0})
    for query in queries_of_the_guide():
        asked.ask(query)
    for metric in (*ADMIN_METRICS, *PREDICTOR_METRICS):
        if metric.name not in OF_SOME:
            name = f"{metric.name}_count" if metric.kind == "histogram" else metric.sample_name
            assert asked.ask(f"count({name})"), f"Prometheus has no {name}"
    scene.client.stop_inference_job(APP)
    asked.eventually('count(up{app!=""})', {})
    scene.client.create_inference_job(APP)
    asked.eventually('up{app!=""}', {(APP,): 1.0})
