"""What a message says to write is taken when it is written; numbers are read as people write them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rafiki.config import load_config
from rafiki.errors import ConfigError
from rafiki_cli.jobs.load import load_jobs
from rafiki_cli.terminal import UsageError

GOOD = """\
app: demo
datasets: {train: a, val: b}
models: [{name: M}]
"""
PLACES = {
    "app": "app: VALUE",
    "trials": "budget: {trials: VALUE}",
    "hours": "budget: {hours: VALUE}",
    "workers": "budget: {workers: VALUE}",
    "min_score": "gates: {min_score: VALUE}",
    "deploy": "deploy: VALUE",
    "replicas": "deploy: {replicas: VALUE}",
    "ensemble": "ensemble: VALUE",
    "advisor": "advisor: VALUE",
    "warm_start": "advisor: {warm_start: VALUE}",
    "any": "train_args: {x: VALUE}",
}
VALUES = [
    "1e3", '"1e3"', "1e-1", '"1e-1"', "1_000", '"1_000"', "1000.0", '"1000.0"', "010", '"010"', "08", "1:30", '"1:30"',
    "yes", "no", "on", "off", "y", '"yes"', '"no"', "true", "~", "null", "2024-01-01", ".nan", ".inf", "nan", '"10"',
    "10", "0x1f", "1.5", "-1", "1e400", '"-.5e1"', "1.10", "+7", '"1e-400"', "12:30:45", "0b11", "-010", "1e5",
]  # fmt: skip


def job(place: str, value: str) -> str:
    line = PLACES[place].replace("VALUE", value)
    return line + "\n" + "\n".join(x for x in GOOD.splitlines() if not x.startswith(line.split(":")[0])) + "\n"


def suggestions(message: str) -> list[str]:
    """What a message says to write in the place of the value."""
    found = re.findall(r'Put it in quotes: ("[^"]*")', message)
    for hint in re.findall(r"Write ([^.;]+(?:\.\d[^.;]*)?)[.;]", message):
        found += hint.split(" or ")
    if meant := re.search(r"Did you mean '(.+?)'\?", message):
        found.append(meant[1])
    return found


def refusal(tmp_path: Path, text: str, settings: list[str] | None = None) -> str:
    """The message; empty when the file is taken."""
    file = tmp_path / "job.yaml"
    file.write_text(text)
    try:
        load_jobs(file, {}, settings or [])
    except UsageError as e:
        return e.message
    return ""


@pytest.mark.parametrize("place", [place for place in PLACES if place != "any"])
def test_every_suggestion_about_a_value_is_taken(tmp_path: Path, place: str) -> None:
    n_suggested = 0
    for value in VALUES:
        for suggested in suggestions(refusal(tmp_path, job(place, value))):
            n_suggested += 1
            again = refusal(tmp_path, job(place, suggested))
            # What is only a question of the number's size is told after what it is.
            assert not again or re.search(r"must be .*(or more|or less|above|below)|no search scheme", again), (
                place, value, suggested, again,
            )  # fmt: skip
    assert n_suggested > 0


@pytest.mark.parametrize(
    ("value", "trials"), [("1e3", 1000), ("1000.0", 1000), ("1_000", 1000), ("0x10", 16), ("1.2e1", 12)]
)
def test_a_whole_number_may_be_written_as_numbers_are(tmp_path: Path, value: str, trials: int) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job("trials", value))
    [found] = load_jobs(file, {})
    assert found.spec.budget.trials == trials
    assert type(found.spec.budget.trials) is int


def test_what_a_model_gets_as_a_number_is_one(tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(job("any", "1e-3"))
    assert load_jobs(file, {})[0].spec.train_args == {"x": 1e-3}


@pytest.mark.parametrize(("value", "trials"), [("010", "10"), ("1:30", None), ("08", "8")])
def test_what_yaml_1_1_reads_as_another_number_is_a_text(tmp_path: Path, value: str, trials: str | None) -> None:
    message = refusal(tmp_path, job("trials", value))
    assert f"must be a whole number, not '{value}'." in message
    assert suggestions(message) == ([trials] if trials else [])
    assert refusal(tmp_path, job("app", value)) == ""
    (tmp_path / "rafiki.yaml").write_text(f"admin: {{port: {value}}}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(start=tmp_path, environ={})
    assert f", line 1: admin.port = '{value}': expected `int" in caught.value.message


@pytest.mark.parametrize("name", ["blå bær", "a/b", "x@2", "#1", "two  words", "a\\b", "a\tb", "a\u00a0b"])
def test_a_name_that_is_none_is_answered_with_one_that_is(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, GOOD.replace("demo", json.dumps(name)))
    [suggested] = suggestions(message)
    assert refusal(tmp_path, GOOD.replace("demo", json.dumps(suggested))) == ""


def test_a_setting_of_the_command_line_is_suggested_as_a_shell_takes_it(tmp_path: Path) -> None:
    message = refusal(tmp_path, GOOD, ["app=10"])
    assert message.endswith("""Write --set app='"10"'.""")
    assert refusal(tmp_path, GOOD, ['app="10"']) == ""


CONFIG = [
    ("admin", "port", '"3000"'), ("admin", "port", "3e3"), ("admin", "token_hours", '"1e1"'),
    ("stack", "folder", "2024"), ("stack", "folder", "yes"), ("predictor", "deadline_s", '".5"'),
    ("admin", "port", '"1.5"'),
]  # fmt: skip


@pytest.mark.parametrize(("section", "key", "value"), CONFIG)
def test_every_suggestion_about_a_setting_is_taken(tmp_path: Path, section: str, key: str, value: str) -> None:
    def refused(text: str) -> str:
        (tmp_path / "rafiki.yaml").write_text(f"{section}:\n  {key}: {text}\n")
        try:
            load_config(start=tmp_path, environ={})
        except ConfigError as e:
            return e.message
        return ""

    message = refused(value)
    if "Put it in quotes" in message:
        assert refused(f'"{value}"') == ""
    for suggested in suggestions(message):
        assert refused(suggested) == ""


def test_a_variable_gives_a_text_to_a_setting_that_is_one(tmp_path: Path) -> None:
    loaded = load_config(start=tmp_path, environ={"RAFIKI_STACK__FOLDER": "2024-01-01", "RAFIKI_ADMIN__PORT": "3e3"})
    assert (loaded.config.stack.folder, loaded.config.admin.port) == ("2024-01-01", 3000)
