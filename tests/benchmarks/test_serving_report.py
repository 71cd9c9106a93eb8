"""What `python -m benchmarks.serving` makes of its observations."""

from __future__ import annotations

import math

import msgspec
import pytest

from benchmarks.bench_stack import BenchError
from benchmarks.machine import Machine
from benchmarks.serving import report as reports
from benchmarks.serving.generator import read_wrk
from benchmarks.serving.kill import longest_gap_s
from benchmarks.serving.profile import area_of
from benchmarks.serving.report import BEGIN, END, Cell, Observation, Report, Served, Table, advantage
from benchmarks.serving.rows import BY_NAME
from rafiki.utils.clock import utc_now


def report(*observations, peers=(("rafiki", "default"), ("mosec", "batches"))):
    machine = Machine(
        cpu="a core", n_cores=2, memory_gb=8.0, os="an OS", python="3.11.7", loop_ms=30.0, spawn_ms=7.0,
        load_average=(0.1, 0.2, 0.3), busy_percent=1.0,
    )  # fmt: skip
    return Report(
        machine=machine, started_at=utc_now(), is_quick=False, generator="wrk", load_s=3.0,
        peers=[Served(name, "1.0", common) for name, common in peers],
        observations=[Observation(*seen) for seen in observations],
    )  # fmt: skip


SEEN = (
    *(("tree_32", "rafiki", "default", no, value) for no, value in enumerate((7000.0, 9000.0, 8000.0))),
    *(("tree_32", "mosec", "batches", no, value) for no, value in enumerate((4000.0, 100.0, 5000.0))),
    *(("tree_32", "mosec", "no batches", no, value) for no, value in enumerate((10000.0, 16000.0, 12000.0))),
    *(("tree_1", "rafiki", "default", no, value) for no, value in enumerate((1.0, 1.2, 9.0))),
    *(("tree_1", "mosec", "batches", no, value) for no, value in enumerate((2.4, 2.4, 3.0))),
    *(("tree_1", "mosec", "no batches", no, value) for no, value in enumerate((0.6, 0.5, 0.6))),
)


def test_a_ratio_is_one_of_medians_and_above_1_where_we_are_ahead():
    table = Table(report(*SEEN))
    more, less = BY_NAME["tree_32"], BY_NAME["tree_1"]
    ours, theirs = table.find_common(more, "rafiki"), table.find_common(more, "mosec")
    assert (ours.median, theirs.median) == (8000, 4000)
    assert advantage(more, ours, theirs) == 2
    assert advantage(less, table.find_common(less, "rafiki"), table.find_common(less, "mosec")) == pytest.approx(2)


def test_the_best_setting_of_a_row_is_that_of_the_best_median():
    table = Table(report(*SEEN))
    assert table.find_best(BY_NAME["tree_32"], "mosec").setting == "no batches"
    assert table.find_best(BY_NAME["tree_1"], "mosec").setting == "no batches"
    ratio = advantage(
        BY_NAME["tree_1"],
        table.find_best(BY_NAME["tree_1"], "rafiki"),
        table.find_best(BY_NAME["tree_1"], "mosec"),
    )
    assert ratio == pytest.approx(0.5)


def test_a_server_that_never_answers_again_has_no_ratio_and_says_so():
    seen = [("kill_s", "rafiki", "default", 1, 2.5), ("kill_s", "mosec", "batches", 1, None)]
    table, row = Table(report(*seen)), BY_NAME["kill_s"]
    never = table.find_common(row, "mosec")
    assert math.isinf(never.median)
    assert advantage(row, table.find_common(row, "rafiki"), never) is None
    line = next(line for line in reports.as_markdown(report(*seen)).splitlines() if row.title in line)
    assert line.split("|")[2:4] == [" 2.5 ", " never "]


def test_no_failure_against_some_has_no_ratio():
    row = BY_NAME["kill_failed"]
    assert advantage(row, Cell("default", [0.0]), Cell("batches", [5.0])) is None


def test_the_tables_tell_medians_spreads_settings_and_who_is_missing():
    made = report(*SEEN, peers=(("rafiki", "default"), ("mosec", "batches"), ("ray", "batches")))
    made.peers[-1] = Served("ray", "1.0", "batches", "left out, pip cannot install it: no disk")
    for text in (reports.as_text(made), reports.as_markdown(made)):
        assert "8,000 (7,000 to 9,000)" in text
        assert "4,000 (100 to 5,000), x2.00" in text
        assert "12,000 (10,000 to 16,000), x0.67 [no batches]" in text
        assert "ray: left out, pip cannot install it: no disk." in text
        assert "interleaved rounds: 3" in text
    assert "best on the row" not in reports.as_text(msgspec.structs.replace(made, is_quick=True))


def test_an_ensemble_is_held_against_one_member():
    seen = [*SEEN, ("ensemble_32", "rafiki", "default", 0, 5200.0)]
    assert reports.ensemble_share(report(*seen)) == pytest.approx(0.65)
    assert "answers 65% of what one tree does" in reports.as_text(report(*seen))
    assert reports.ensemble_share(report(*SEEN)) is None


def test_only_the_block_of_the_page_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    reports.write_docs(report(*SEEN), page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n")
    assert text.endswith(f"{END}\nafter\n")
    assert "old" not in text
    page.write_text("no block")
    with pytest.raises(ValueError, match=r"page\.md has no block"):
        reports.write_docs(report(*SEEN), page)


def test_failed_requests_of_wrk_are_no_answers():
    printed = 'Running 1s\n{"duration_us":2000000,"n_requests":5000,"n_failed":1000,"p50_us":800,"p99_us":9000}\n'
    load = read_wrk(printed)
    assert (load.requests_per_s, load.p50_ms, load.p99_ms, load.n_failed) == (2000, 0.8, 9, 1000)
    with pytest.raises(BenchError, match="no request was answered; 7 failed"):
        read_wrk('{"duration_us":1000000,"n_requests":7,"n_failed":7,"p50_us":0,"p99_us":0}')
    with pytest.raises(BenchError, match="no figures"):
        read_wrk("unable to connect")


@pytest.mark.parametrize(
    ("answered", "gap_s"),
    [
        ([9.0, 9.9, 10.1, 12.6, 12.7, 19.9], 7.2),
        ([9.9, 10.1, 12.6, *(12.7 + n / 10 for n in range(73))], 2.5),
        ([9.9], None),
        ([9.9, 10.1], None),
    ],
    ids=["the longest counts", "after a restart", "none", "one that was on its way"],
)
def test_the_time_without_an_answer(answered, gap_s):
    found = longest_gap_s(10.0, answered, 20.0)
    assert found == (None if gap_s is None else pytest.approx(gap_s))


@pytest.mark.parametrize(
    ("stack", "area"),
    [
        ("main (rafiki/service.py:1);Tree64.predict (rafiki_model_1.py:9);f (sklearn/tree/_classes.py:5)", "sklearn"),
        ("main (rafiki/service.py:1);ask (rafiki/predictor/gather.py:7)", "rafiki/predictor/gather.py: ask"),
        ("main (x.py:1);Runner.run (asyncio/runners.py:118)", "the event loop itself, and the rest"),
        ("run (rafiki/service.py:2);Tree64.predict (rafiki_model_1.py:9)", "the model's own file"),
    ],
    ids=["library", "function", "loop", "model"],
)  # fmt: skip
def test_a_sampled_stack_belongs_to_the_innermost_part_that_is_known(stack, area):
    assert area_of(stack) == area
