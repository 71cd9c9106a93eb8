"""Two Docker hosts in one Swarm, with workers on both. Either may be cut off or lose its power in the middle.

The tests share one stack and go on from each other: what the first one deploys serves while the next one takes a host
away. The clocks of the hosts are a minute apart (``support/swarm/wrong_clock.py``).
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import httpx
import msgspec
import pytest
from support.stacks.running_stack import MODELS, RunningStack, eventually
from support.swarm.docker_hosts import DockerHost, DockerHosts
from support.swarm.worker_image import TEST_IMAGE

from rafiki.client import Client
from rafiki.client.prediction import PredictorClient
from rafiki.errors import NodeInUseError
from rafiki.utils.pid_file import PidFile

# Bringing up the hosts and building their image takes a minute, on a busy machine several.
pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]
N_TRIALS = 60
N_STEPS = 40
LONG_S = 240.0
DEADLINE_S = 10.0


@pytest.fixture(scope="module")
def stack(docker_hosts: DockerHosts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = swarm_stack(docker_hosts, tmp_path_factory.mktemp("stack"))
    running.up()
    yield running
    docker_hosts.connect()
    running.down()
    assert running.processes() == [], "a process was left behind"
    assert left_in_swarm(docker_hosts) == [], "something was left in the Swarm"


@pytest.fixture(autouse=True)
def _both_hosts_come_back(docker_hosts: DockerHosts) -> Iterator[None]:
    """A test that fails while a host is away does not take the tests after it along."""
    yield
    docker_hosts.bring_back()


def swarm_stack(hosts: DockerHosts, folder: Path, **settings: Any) -> RunningStack:
    return RunningStack(
        folder,
        {
            "container": {"backend": "swarm", "engine": hosts.manager.socket, "image": TEST_IMAGE},
            "cluster": {"advertise_host": hosts.address},
            # All of them, so that what is lost is seen.
            "train": {"checkpoint_s": 0.2, "keep_params": N_TRIALS},
            **settings,
        },
    )


def left_in_swarm(hosts: DockerHosts, stack_id: str | None = None) -> list[str]:
    """The names of services and secrets; of one stack, or of all."""
    manager = docker.APIClient(base_url=hosts.manager.socket, version="auto")
    filters = {"label": f"rafiki.stack={stack_id}" if stack_id else "rafiki.stack"}
    try:
        return [x["Spec"]["Name"] for x in (*manager.services(filters=filters), *manager.secrets(filters=filters))]
    finally:
        manager.close()


def rafiki(stack: RunningStack, *arguments: str, timeout_s: float = LONG_S) -> str:
    """What a command puts out, of which the stack is this folder's."""
    done = subprocess.run(
        [sys.executable, "-m", "rafiki_cli", *arguments], cwd=stack.folder, env=stack.environment,
        capture_output=True, text=True, check=False, timeout=timeout_s,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr + stack.logs()
    return done.stdout


def start_job(client: Client, folder: Path, app: str, model: str, budget: dict[str, int], **train_args: Any) -> None:
    data = folder / f"{app}.bin"
    data.write_bytes(app.encode() * 1000)
    dataset = client.create_dataset(app, "CUSTOM", str(data))["id"]
    model_id = client.create_model(app, "CUSTOM", str(MODELS / f"{model}.py"), model.capitalize())["id"]
    client.create_train_job(app, "CUSTOM", dataset, dataset, budget, [model_id], train_args=train_args)


def completed(client: Client, app: str) -> int:
    return sum(t["status"] == "COMPLETED" for t in client.get_trials_of_train_job(app))


def wait_for_end(client: Client, app: str) -> list[dict[str, Any]]:
    """The trials of a job that has ended."""
    eventually(lambda: client.get_train_job(app)["status"] in ("STOPPED", "ERRORED"), f"the end of {app}", LONG_S)
    trials: list[dict[str, Any]] = client.get_trials_of_train_job(app)
    return trials


def assert_whole(trials: list[dict[str, Any]], stack: RunningStack, n: int = N_TRIALS) -> None:
    """None is lost, none is doubled."""
    assert sorted(t["no"] for t in trials) == list(range(1, n + 1)), stack.logs()
    assert {t["status"] for t in trials} == {"COMPLETED"}, stack.logs()
    assert all(t["is_params_saved"] for t in trials)


def hosts_with(kind: str, hosts: DockerHosts) -> list[str]:
    """The host of each service of a kind, as the engines tell it."""
    found = []
    for host in hosts.hosts:
        client = docker.APIClient(base_url=host.socket, version="auto")
        found += [host.name for _ in client.containers(filters={"label": f"rafiki.kind={kind}"})]
        client.close()
    return sorted(found)


def clock_of_worker(host: DockerHost) -> int:
    """How many seconds the clock of an inference worker on the host goes before the right one."""
    client = docker.APIClient(base_url=host.socket, version="auto")
    (container,) = client.containers(filters={"label": "rafiki.kind=inference"})
    code = "import time; print(round(time.time() - time.clock_gettime(time.CLOCK_REALTIME)))"
    told = client.exec_start(client.exec_create(container["Id"], ["python", "-c", code])["Id"])
    client.close()
    return int(told)


def services(client: Client, kind: str) -> list[dict[str, Any]]:
    return [s for s in client.get_services() if s["service_type"] == kind]


class Visitor:
    """Somebody who asks a predictor without end, and keeps every answer."""

    def __init__(self, url: str, query: Any) -> None:
        self.answers: list[tuple[int, float, list[str]]] = []
        """Status, seconds, and the members that were left out."""
        self._url, self._query = url, query
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        with httpx.Client(timeout=DEADLINE_S + 20) as http:
            while not self._is_over.wait(0.2):
                answer = http.post(self._url, json={"query": self._query})
                body = answer.json()
                self.answers.append((answer.status_code, answer.elapsed.total_seconds(), body.get("left_out", [])))

    def end(self) -> None:
        self._is_over.set()
        self._thread.join(DEADLINE_S + 30)


def test_the_quickstart_runs_on_both_hosts(stack: RunningStack, docker_hosts: DockerHosts) -> None:
    result = msgspec.json.decode(rafiki(stack, "quickstart", "--trials", "3", "-o", "json"))
    assert result["accuracy"] >= 0.9
    both = [host.name for host in docker_hosts.hosts]
    assert hosts_with("inference", docker_hosts) == both
    assert not stack.processes("train") and not stack.processes("inference")
    # Here as in all that follows, the clocks of the hosts are wrong.
    assert [clock_of_worker(host) for host in docker_hosts.hosts] == [30, -30]
    # Memory, processor time and the host of each, as on one machine.
    client = stack.client()
    eventually(
        lambda: all(s["memory_bytes"] and s["cores"] is not None for s in client.get_services()), "what services use"
    )
    assert sorted(s["host"] for s in services(client, "INFERENCE")) == both
    status = rafiki(stack, "status", "-o", "json")
    assert all(name in status for name in both)
    logs = list((stack.root / "logs").glob("train-*.log"))
    assert logs and all(file.read_text().strip() for file in logs), "the log of a train worker is empty"


def test_a_host_that_loses_its_power_costs_no_trial_no_step_and_no_answer(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    both = [host.name for host in docker_hosts.hosts]
    start_job(
        client, tmp_path, "steps", "steps", {"MODEL_TRIAL_COUNT": 2, "CPU_WORKER_COUNT": 2}, step_s=0.8,
    )  # fmt: skip
    start_job(
        client, tmp_path, "power", "tiny", {"MODEL_TRIAL_COUNT": N_TRIALS, "CPU_WORKER_COUNT": 4}, sleep_s=1.0
    )  # fmt: skip
    predictor = client.get_running_inference_job("digits")["predictor_host"]
    visitor = Visitor(f"http://{predictor}/predict", [[[0, 0, 0]] * 8] * 8)
    eventually(lambda: set(hosts_with("train", docker_hosts)) == set(both), "train workers on both hosts", 120)
    eventually(lambda: completed(client, "power") >= 8, "eight completed trials", 120)
    before = {t["id"]: t for t in client.get_trials_of_train_job("power") if t["status"] == "COMPLETED"}
    assert visitor.answers and all(a[0] == 200 and not a[2] for a in visitor.answers)
    docker_hosts.kill_other()

    trials = wait_for_end(client, "power")
    assert_whole(trials, stack)
    assert {t["id"]: t for t in trials if t["id"] in before} == before
    # Trials of many steps go on from their last checkpoints.
    steps = wait_for_end(client, "steps")
    assert [t["status"] for t in steps] == ["COMPLETED"] * 2, stack.logs()
    assert {t["score"] for t in steps} == {sum(range(N_STEPS + 1)) / 1000}
    (again,) = [t for t in steps if t["attempt"] > 1]
    told = [m["message"] for m in client.get_trial_logs(again["id"])["messages"]]
    assert any("at step" in line for line in told), told

    # The members on the host that is left answered on, until all are there again.
    first = both[0]
    eventually(lambda: hosts_with_left("inference", docker_hosts) == [first, first], "the member's successor", 120)
    eventually(lambda: visitor.answers[-1][0] == 200 and not visitor.answers[-1][2], "an answer of all members", 120)
    visitor.end()
    assert {status for status, _, _ in visitor.answers} == {200}
    assert max(seconds for _, seconds, _ in visitor.answers) < DEADLINE_S + 5
    # While one was missing it was named.
    assert len({name for _, _, names in visitor.answers for name in names}) == 1
    docker_hosts.start_other()


def hosts_with_left(kind: str, hosts: DockerHosts) -> list[str]:
    """:func:`hosts_with` of the host that is left."""
    client = docker.APIClient(base_url=hosts.manager.socket, version="auto")
    try:
        return [hosts.manager.name for _ in client.containers(filters={"label": f"rafiki.kind={kind}"})]
    finally:
        client.close()


def test_a_host_that_is_cut_off_and_comes_back_changes_nothing_nor_does_an_admin_that_was_killed(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    start_job(client, tmp_path, "cut", "tiny", {"MODEL_TRIAL_COUNT": N_TRIALS, "CPU_WORKER_COUNT": 4}, sleep_s=1.0)
    eventually(lambda: completed(client, "cut") >= 4, "four completed trials", 120)
    both = [host.name for host in docker_hosts.hosts]
    workers = {s["id"] for s in services(client, "TRAIN")}
    assert {s["host"] for s in services(client, "TRAIN")} == set(both)

    stack.kill_admin()
    stack.up()
    client = stack.client()
    # Its services were found again, none was started beside them.
    assert {s["id"] for s in services(client, "TRAIN")} == workers
    docker_hosts.cut_off()
    eventually(lambda: "is lost" in stack.log.read_text(), "word of the lost host", 120)
    docker_hosts.connect()
    trials = wait_for_end(client, "cut")
    assert_whole(trials, stack)
    docker_hosts.wait_until_ready()
    eventually(lambda: not hosts_with("train", docker_hosts), "the end of what ran on while it was cut off", 120)
    # What workers said that were cut off while their trials were given to others.
    assert client.get_trials_of_train_job("cut") == trials
    followed = rafiki(stack, "trial", "logs", "cut", "cut#1", "--follow")
    assert "training in process" in followed
    client.create_inference_job("cut")
    job = eventually(
        lambda: (j := client.get_running_inference_job("cut"))["status"] == "RUNNING" and j, "a deployment", 120
    )
    assert PredictorClient(job["predictor_host"]).predict([1, 2]) is not None


def by_host(client: Client, kind: str) -> dict[str, str]:
    """The hosts of services, by their ids."""
    return {s["id"]: s["host"] for s in services(client, kind) if s["host"]}


def join_again(hosts: DockerHosts, order: dict[str, Any]) -> None:
    """Type what `rafiki node add` printed, on the other host."""
    program = ["docker", "--host", hosts.other.socket]
    subprocess.run([*program, "swarm", "leave", "--force"], check=True, timeout=120, capture_output=True)
    join = order["command"].split()[1:]
    at = ["--advertise-addr", hosts.other.address, "--listen-addr", f"{hosts.other.address}:2377"]
    subprocess.run([*program, *join[:-1], *at, join[-1]], check=True, timeout=120, capture_output=True)


def test_a_draining_host_finishes_its_trials_and_its_members_serve_until_others_do(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    here, there = docker_hosts.manager.name, docker_hosts.other.name
    found = {n["name"]: n for n in client.get_nodes()}
    assert {(n["name"], n["state"], n["role"], n["has_image"]) for n in found.values()} == {
        (here, "READY", "manager", True), (there, "READY", "worker", True)
    }  # fmt: skip
    assert all(n["memory_bytes"] and n["cores"] and n["free_disk_bytes"] for n in found.values())
    assert all(n["gpus"] == [] for n in found.values())

    predictor = client.get_running_inference_job("digits")["predictor_host"]
    visitor = Visitor(f"http://{predictor}/predict", [[[0, 0, 0]] * 8] * 8)
    start_job(client, tmp_path, "drained", "tiny", {"MODEL_TRIAL_COUNT": 24, "CPU_WORKER_COUNT": 4}, sleep_s=1.0)
    eventually(lambda: set(hosts_with("train", docker_hosts)) == {here, there}, "train workers on both hosts", 120)
    eventually(lambda: completed(client, "drained") >= 4, "four completed trials", 120)
    with pytest.raises(NodeInUseError, match=rf"Services run on node {there}: "):
        client.remove_node(there)
    rafiki(stack, "node", "drain", there)
    assert client.get_node(there)["state"] == "DRAINED"
    assert there not in hosts_with("train", docker_hosts) + hosts_with("inference", docker_hosts)
    before = {t["id"] for t in client.get_trials_of_train_job("drained")}
    assert len(before) < 24, "the job was over before anything was drained"
    eventually(lambda: list(by_host(client, "TRAIN").values()) == [here] * 4, "all workers on the host left", 120)
    left = by_host(client, "TRAIN")
    trials = wait_for_end(client, "drained")
    assert_whole(trials, stack, 24)
    assert {t["attempt"] for t in trials} == {1}, "a trial was given to a second worker"
    assert {t["worker_id"] for t in trials if t["id"] not in before} <= left.keys()

    # All members are on this host now. They go to the other one while they are asked.
    client.activate_node(there)
    rafiki(stack, "node", "drain", here)
    assert set(by_host(client, "INFERENCE").values()) == {there}
    visitor.end()
    assert visitor.answers and all(status == 200 and not names for status, _, names in visitor.answers)
    client.activate_node(here)


def test_a_host_that_is_removed_joins_again_with_what_is_said(stack: RunningStack, docker_hosts: DockerHosts) -> None:
    client = stack.client()
    here, there = docker_hosts.manager.name, docker_hosts.other.name
    with pytest.raises(NodeInUseError, match="works through the Docker engine"):
        client.remove_node(here, force=True)
    client.remove_node(there, force=True)
    assert [n["name"] for n in client.get_nodes()] == [here]
    eventually(lambda: set(by_host(client, "INFERENCE").values()) == {here}, "the members on the host left", 120)
    order = client.add_node(rotate=True)
    assert order["token"] not in stack.logs()
    join_again(docker_hosts, order)
    eventually(lambda: {n["name"]: n["state"] for n in client.get_nodes()} == {here: "READY", there: "READY"},
               "both hosts", 120)  # fmt: skip
    # GPUs are what the label says.
    engine = docker.APIClient(base_url=docker_hosts.manager.socket, version="auto")
    [node] = [n for n in engine.nodes() if n["Description"]["Hostname"] == there]
    engine.update_node(node["ID"], node["Version"]["Index"], {**node["Spec"], "Labels": {"rafiki.gpus": "0,1"}})
    engine.close()
    assert [g["name"] for g in eventually(lambda: client.get_node(there)["gpus"], "GPUs", 60)] == ["0", "1"]


def test_a_worker_that_a_firewall_keeps_from_the_cache_says_so_and_others_do_its_work(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    cache = PidFile.load(stack.root / "run" / "cache.json")
    assert cache is not None and cache.port is not None
    with docker_hosts.firewall(cache.port):
        start_job(client, tmp_path, "walled", "tiny", {"MODEL_TRIAL_COUNT": 20, "CPU_WORKER_COUNT": 2}, sleep_s=2.0)
        told = f"does not reach the cache at {docker_hosts.address}:{cache.port}"
        eventually(lambda: told in stack.log.read_text(), "word of what is not reached", 120)
    assert_whole(wait_for_end(client, "walled"), stack, 20)


def test_a_volume_that_is_full_is_named_and_the_other_stack_of_the_swarm_is_left_alone(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    before = hosts_with("inference", docker_hosts)
    small = swarm_stack(docker_hosts, tmp_path / "small", supervisor={"max_restarts": 1})
    small.up()
    try:
        client = small.client()
        for host in docker_hosts.hosts:
            engine = docker.APIClient(base_url=host.socket, version="auto")
            engine.create_volume(
                f"rafiki-copies-{client.get_health()['stack_id']}", driver="local",
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=2m,mode=1777"},
            )  # fmt: skip
            engine.close()
        (tmp_path / "large.bin").write_bytes(b"x" * (5 << 20))
        dataset = client.create_dataset("large", "CUSTOM", str(tmp_path / "large.bin"))["id"]
        model = client.create_model("tiny", "CUSTOM", str(MODELS / "tiny.py"), "Tiny")["id"]
        client.create_train_job(
            "full", "CUSTOM", dataset, dataset, {"MODEL_TRIAL_COUNT": 2, "CPU_WORKER_COUNT": 1}, [model]
        )
        eventually(lambda: client.get_train_job("full")["status"] == "ERRORED", "the end of the job", 120)
        assert "space" in client.get_train_job("full")["error"]
        assert client.get_datasets(), "nothing is lost"
        stack_id = client.get_health()["stack_id"]
        rafiki(small, "down")
        assert left_in_swarm(docker_hosts, stack_id) == []
    finally:
        small.down()
    assert hosts_with("inference", docker_hosts) == before
    assert stack.client().get_health()["status"] == "ok"


def test_a_swarm_that_is_torn_down_under_a_stack_costs_the_work_of_a_moment(
    stack: RunningStack, docker_hosts: DockerHosts, tmp_path: Path
) -> None:
    client = stack.client()
    start_job(client, tmp_path, "torn", "tiny", {"MODEL_TRIAL_COUNT": 8, "CPU_WORKER_COUNT": 2}, sleep_s=2.0)
    eventually(lambda: completed(client, "torn") >= 2, "two completed trials", 120)
    docker_hosts.tear_down_swarm()
    told = eventually(lambda: (s := client.get_health()["status"]) != "ok" and s, "a health that says why", 60)
    assert "no manager of a Swarm any more" in told
    for engine in docker_hosts.make_swarm():
        engine.close()
    eventually(lambda: client.get_health()["status"] == "ok", "a healthy stack", 120)
    assert_whole(wait_for_end(client, "torn"), stack, 8)


def test_down_takes_away_what_a_killed_admin_left(stack: RunningStack, docker_hosts: DockerHosts) -> None:
    assert hosts_with("inference", docker_hosts)
    assert left_in_swarm(docker_hosts)
    stack.kill_admin()
    rafiki(stack, "down")
    assert left_in_swarm(docker_hosts) == []
    eventually(lambda: not hosts_with("inference", docker_hosts), "the end of all workers", 60)
