from __future__ import annotations

import math

import pytest

from rafiki_cli.render import look as looks
from rafiki_cli.render.chart import Kind, Look, Series, bar, chart, paint
from rafiki_cli.render.ticks import Scale, linear_ticks, log_ticks, short_time, time_ticks

PLAIN, COLORED, ASCII = Look(), Look(is_colored=True), Look(is_ascii=True)
EPOCHS = [float(i) for i in range(1, 11)]


def _text(series: list[Series], width: int, height: int = 6, look: Look = PLAIN, **more) -> str:
    return "\n".join(paint(line, look) for line in chart(series, width, height, look=look, **more))


def test_one_series_is_drawn_in_braille_with_ticks_and_a_legend() -> None:
    shown = _text([Series("loss", EPOCHS, [1 / e for e in EPOCHS])], 40, title="Loss", x_label="epoch",
                  x_scale=Scale(is_whole=True))  # fmt: skip
    assert (
        shown
        == """\
Loss
1.0 ┤⠱⡀
    │ ⠑⡄
    │  ⠈⢆
0.5 ┤   ⠈⠢⢄⡀
    │      ⠈⠑⠢⠤⠤⣀⣀⡀
    │             ⠈⠉⠉⠉⠑⠒⠒⠒⠤⠤⠤⠤⠤⠤⠤⠤⣀⣀⣀⣀⣀⣀
    └───────────────┬──────────────────┬
                    5                 10
     ━ loss   over epoch"""
    )


@pytest.mark.parametrize("width", [30, 80, 200])
@pytest.mark.parametrize("look", [PLAIN, ASCII])
def test_no_line_is_wider_than_asked_for(width: int, look: Look) -> None:
    many = [Series(f"a metric of a long name {i}", EPOCHS, [e * i for e in EPOCHS]) for i in range(9)]
    for line in _text(many, width, look=look, title="T" * 300, x_label="x" * 300).splitlines():
        assert len(line) <= width


def test_without_utf8_a_chart_is_ascii_and_series_have_a_mark_each() -> None:
    series = [Series("loss", EPOCHS, EPOCHS), Series("val", EPOCHS, EPOCHS[::-1])]
    shown = _text(series, 40, look=ASCII)
    assert shown.isascii()
    assert "* loss   + val" in shown


def test_without_colours_several_series_have_a_mark_each() -> None:
    series = [Series("loss", EPOCHS, EPOCHS), Series("val", EPOCHS, EPOCHS[::-1])]
    assert "* loss   + val" in _text(series, 40, look=PLAIN)
    colored = _text(series, 40, look=COLORED)
    assert "\x1b[36m" in colored
    assert "\x1b[33m" in colored
    assert "* loss" not in colored


def test_what_is_no_number_breaks_the_line_and_sets_no_scale() -> None:
    y = [1.0, 2.0, math.nan, None, math.inf, 1e305, 1.0, 2.0]
    shown = _text([Series("m", EPOCHS[:8], y)], 40, look=ASCII)
    top = next(line for line in shown.splitlines() if line.startswith("2.0"))
    assert top.count("*") >= 2  # both ends of the gap reach the top, and nothing lies between these
    assert "e+" not in shown
    columns = [i for line in shown.splitlines()[:6] for i, c in enumerate(line) if c == "*"]
    gap = [c for c in range(min(columns), max(columns)) if c not in columns]
    assert len(gap) > 15


def test_nothing_to_draw_is_said() -> None:
    assert "no number" in _text([Series("m", [1.0], [None])], 40)
    assert "no number" in _text([], 40)
    # A logarithmic axis has no place for zero.
    assert "no number" in _text([Series("m", [0.0], [1.0])], 40, x_scale=Scale(is_log=True))


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e-9, 1e12])
def test_a_single_value_stands_in_the_middle_of_its_axes(value: float) -> None:
    lines = _text([Series("m", [1.0], [value])], 41, height=7, look=ASCII).splitlines()
    assert "*" in lines[3]


def test_points_are_not_connected() -> None:
    x, y = [0.0, 10.0], [0.0, 10.0]
    line, points = (_text([Series("", x, y, kind)], 40, look=ASCII) for kind in (Kind.LINE, Kind.POINTS))
    assert line.count("*") > 10
    assert points.count("*") == 2


def test_ticks_are_round_and_tell_their_neighbours_apart() -> None:
    assert [t.text for t in linear_ticks(0.0, 1.0, 5)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
    assert [t.text for t in linear_ticks(0.91, 0.94, 3)] == ["0.91", "0.92", "0.93", "0.94"]
    assert [t.text for t in linear_ticks(-1.0, 1.0, 2)] == ["-1", "0", "1"]
    assert [t.text for t in linear_ticks(1, 4, 30, least_step=1.0)] == ["1", "2", "3", "4"]
    for low, high in ((1e-9, 3e-9), (1e9, 1e9 + 5), (0.0, 1e-7), (-1e200, 1e200)):
        texts = [t.text for t in linear_ticks(low, high, 4)]
        assert len(set(texts)) == len(texts) >= 2


def test_logarithmic_ticks_are_powers_of_ten_and_more_where_these_are_few() -> None:
    assert [t.text for t in log_ticks(-3, 3, 8)] == ["0.001", "0.01", "0.1", "1", "10", "100", "1000"]
    assert [t.text for t in log_ticks(-6, 6, 4)] == ["1e-6", "0.001", "1", "1000", "1e6"]
    assert [t.text for t in log_ticks(0, 1, 6)] == ["1", "2", "5", "10"]
    assert len(log_ticks(math.log10(110), math.log10(130), 4)) >= 2


def test_ticks_of_time_are_round_times() -> None:
    assert [t.text for t in time_ticks(0, 250, 5)] == ["0s", "1m", "2m", "3m", "4m"]
    assert [t.text for t in time_ticks(0, 4 * 3600, 4)] == ["0s", "1h", "2h", "3h", "4h"]
    assert [t.text for t in time_ticks(0, 1.0, 2)] == ["0.0s", "0.5s", "1.0s"]
    assert short_time(90) == "1m30s"
    assert short_time(86400 * 3) == "3d"


def test_a_bar_is_solid_to_the_low_end_and_shaded_to_the_high_end_of_its_interval() -> None:
    assert bar(0.5, 10) == "█████"
    assert bar(0.5, 10, low=0.2, high=0.8) == "██▓▓▓░░░"
    assert bar(0.5, 10, low=0.2, high=0.8, look=ASCII) == "##===---"
    assert bar(0.0, 10, low=0.0, high=0.0) == ""
    assert bar(1.0, 10, low=1.0, high=1.0) == "█" * 10


def test_colours_need_a_terminal_and_give_way_to_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Out:
        encoding = "utf-8"
        is_terminal = True

        def isatty(self) -> bool:
            return self.is_terminal

    out = Out()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert looks.of_stdout() == Look(is_colored=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert looks.of_stdout() == Look()
    monkeypatch.delenv("NO_COLOR")
    out.is_terminal, out.encoding = False, "latin-1"
    assert looks.of_stdout() == Look(is_ascii=True)
    assert not looks.can_encode("no such encoding")
    assert not looks.can_encode(None)
