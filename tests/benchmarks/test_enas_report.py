"""The report of the architecture search benchmark: what is set against what."""

from __future__ import annotations

from benchmarks.enas.__main__ import Report, Split, as_text
from benchmarks.enas.arms import Found, Trained
from rafiki.utils.clock import utc_now


def trained(val: float, test: float) -> Trained:
    return Trained(cell=["identity", "last", "identity"] * 4, val=val, test=test)


def split(seed: int, enas: float, random: list[tuple[float, float]], random_again: float) -> Split:
    found = [trained(val, test) for val, test in random]
    return Split(
        seed=seed,
        measured_at=utc_now(),
        enas=Found(best=trained(0.9, enas), trained=[trained(0.9, enas)], cost_s=30.0),
        random=Found(best=max(found, key=lambda t: t.val), trained=found, cost_s=10.0 * len(found)),
        enas_again=[trained(0.0, enas - 0.01), trained(0.0, enas + 0.01)],
        random_again=[trained(0.0, random_again)],
    )


def report() -> Report:
    splits = [
        split(0, 0.95, [(0.80, 0.90), (0.90, 0.85), (0.85, 0.99)], 0.92),
        split(1, 0.94, [(0.80, 0.80), (0.70, 0.99), (0.90, 0.91)], 0.95),
    ]
    return Report(field=16, n_trials=300, n_again=2, full_epochs=40, splits=splits)


def test_architectures_are_compared_by_their_further_trainings_split_by_split() -> None:
    text = as_text(report())
    assert "| found by ENAS in 300 trials | 94.50 ± 6.35 | 30.0 |" in text
    assert "| best of 3 random ones, trained in full | 93.50 ± 19.06 | 30.0 |" in text
    # 3 points more on one split, 1 point less on the other.
    assert "ENAS less the best random one: 1.00 ± 25.41, better on 1 of 2 splits" in text


def test_random_search_is_what_its_first_trainings_would_have_served() -> None:
    rows = [line.split(" | ") for line in as_text(report()).splitlines() if line[:4] in ("| 1 ", "| 2 ", "| 3 ")]
    assert [row[1] for row in rows] == ["10.0", "20.0", "30.0"]
    # Chosen by validation scores: the test scores of those, though others have better ones.
    assert [row[2].split(" ")[0] for row in rows] == ["85.00", "82.50", "88.00"]
