"""Parameters go from one trial to the next through the cache."""

from __future__ import annotations

from pathlib import Path

from support.stacks.running_stack import MODELS, RunningStack, eventually


def test_a_trial_starts_from_the_best_shared_parameters(stack: RunningStack, tmp_path: Path) -> None:
    client = stack.client()
    file = tmp_path / "data.bin"
    file.write_bytes(b"anything")
    dataset = client.create_dataset("sharing", "CUSTOM_SHARING", str(file))["id"]
    model = client.create_model("sharing", "CUSTOM_SHARING", str(MODELS / "sharing.py"), "Sharing")["id"]
    budget = {"MODEL_TRIAL_COUNT": 12}
    client.create_train_job("sharing", "CUSTOM_SHARING", dataset, dataset, budget, [model])
    eventually(lambda: client.get_train_job("sharing")["status"] == "STOPPED", "the end of the job")
    trials = sorted(client.get_trials_of_train_job("sharing"), key=lambda t: t["no"])
    best = 0.0
    for trial in trials:
        is_shared = trial["proposal"].get("start_from") == "GLOBAL_BEST"
        assert trial["score"] == (best + 1 if is_shared else 1.0)
        best = max(best, trial["score"])
    assert best > 1, "no trial was given shared parameters"
