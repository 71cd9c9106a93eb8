# ruff: noqa: E501 - tables
"""Odd values, and as what each is read: the same in a dataset and in a query."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rafiki.data.columns import ColumnKind
from rafiki.data.profile import ColumnProfiler
from rafiki.data.table_schema import profile_rows
from rafiki.model import utils

NAN = math.nan

# Beside these, an odd number is one among numbers whose decimal mark is told.
AMONG_DOTS = ["0.5", "12.25", "7", "1024", "3.125e2", "99.5", "-4.75", "6", "18.5", "11.25"] * 3
AMONG_COMMAS = ["0,5", "12,25", "7", "1024", "99,5", "-4,75", "6", "18,5", "11,25", "2,5"] * 3
DOTS: list[tuple[str, float | None]] = [
    ("1", 1), ("+7", 7), ("-3", -3), ("\u22123", -3), ("\u20133", -3), ("- 3", -3), ("007.5", 7.5), (".5", 0.5),
    ("5.", 5), ("3 kg", None), ("m3", None),
    ("1e5", 1e5), ("2.5E-3", 0.0025), ("1E+2", 100), ("1,234", 1234), ("1,234.5", 1234.5), ("1,234,567", 1234567),
    ("12,345,678.90", 12345678.9), ("1 234", 1234), ("1\u00a0234.5", 1234.5), ("1\u202f234\u202f567", 1234567),
    ("1\u2009234", 1234),
    ("1'234.50", 1234.5), ("1\u2019234\u2019567", 1234567), ("(1,234)", -1234), ("(5)", -5), ("12-", -12), ("1.2k", 1200),
    ("3K", 3000), ("1.5M", 1.5e6), ("2bn", 2e9), ("1.234", 1.234), ("9007199254740992", 2**53), ("1e308", 1e308),
    ("0x1F", None), ("1_000", None), ("1.2.3", None), ("12abc34", None), ("--5", None), ("1,23,4", None), ("1.234,5", None),
    ("inf", None), ("-inf", None), ("Infinity", None), ("1e999", None), ("1/2", None), ("ten", None), ("(5", None), ("5)", None),
    ("-", NAN), ("--", NAN), ("\u2014", NAN), (".", NAN), ("...", NAN), ("unknown", NAN), ("missing", NAN), ("", NAN),
    ("NA", NAN), ("n/a", NAN), ("N.A.", NAN), ("n.a.", NAN), ("#N/A", NAN), ("#DIV/0!", NAN), ("#VALUE!", NAN), ("#REF!", NAN),
    ("NaN", NAN), ("-nan", NAN), ("NULL", NAN), ("(null)", NAN), ("None", NAN), ("nil", NAN), ("?", NAN), ("<NA>", NAN),
    ("NaT", NAN), ("1.#IND", NAN), ("-1.#QNAN", NAN), ("TBD", NAN),
]  # fmt: skip
COMMAS: list[tuple[str, float | None]] = [
    ("1,5", 1.5), ("0,123", 0.123), ("1,234", 1.234), ("1.234", 1234), ("1.234,56", 1234.56), ("1.234.567", 1234567),
    ("1.234.567,8", 1234567.8), ("12 345,6", 12345.6), ("12\u00a0345,6", 12345.6), ("1'234,5", 1234.5), ("-1,5", -1.5),
    ("(1,5)", -1.5), ("1,5e3", 1500), (",5", 0.5), ("5,", 5), ("12", 12), ("1,234.5", None), ("1.5", None), ("1,2,3", None),
]  # fmt: skip
UNITS: list[tuple[str, str, str, float | None]] = [
    ("%", "12 %", "12%", 12), ("%", "3.5%", "7", 7), ("kg", "80 kg", "75.5kg", 75.5), ("kg", "80 kg", "1 t", None),
    ("kg", "80 kg", "5", 5), ("€", "€ 5", "€1,200.50", 1200.5), ("€", "5 €", "7€", 7), ("$", "$5", "-$5", -5),
    ("$", "$5", "($5)", -5), ("$", "$5", "$1.2k", 1200), ("$", "$5", "€5", None), ("USD", "USD 5", "7 USD", 7),
    ("°C", "20 °C", "-3.5°C", -3.5), ("m²", "80 m²", "120m²", 120), ("km/h", "50 km/h", "63.5 km/h", 63.5),
    ("", "1st", "2nd", 2), ("", "1st", "23rd", 23),
]  # fmt: skip
DAY = 18_322.0
"""2020-03-01."""
DATES: list[tuple[str, float | None]] = [
    ("2020-03-01", DAY), ("2020/03/01", DAY), ("2020.03.01", DAY), ("2020-3-1", DAY), ("2020-03-01T12:00:00Z", DAY + 0.5),
    ("2020-03-01 12:00", DAY + 0.5), ("2020-03-01T12:00:00.000", DAY + 0.5), ("2020-03-01T13:00+01:00", DAY + 0.5),
    ("2020-03-01 06:00:00-0600", DAY + 0.5), ("2020-03-01 12:00 pm", DAY + 0.5), ("2020-03-01 12:00 AM", DAY),
    ("1 March 2020", DAY), ("1 Mar 2020", DAY), ("01-Mar-2020", DAY), ("1-Mar-20", DAY), ("1st March 2020", DAY), ("1. März 2020", DAY),
    ("Mar 1, 2020", DAY), ("March 1st, 2020", DAY), ("Mar 1 2020", DAY), ("Sunday, March 1, 2020", DAY), ("Sun, 1 Mar 2020", DAY),
    ("2020-03", DAY), ("March 2020", DAY), ("1969-12-31", -1), ("1600-02-29", -135_081), ("2020-02-30", None), ("2020-13-01", None),
    ("0000-00-00", None), ("2020-03-01 25:00", None), ("Marchember 1, 2020", None), ("soon", None), ("-", NAN), ("", NAN),
]  # fmt: skip
DAY_FIRST: list[tuple[str, float | None]] = [
    ("01/03/2020", DAY), ("1/3/20", DAY), ("01.03.2020", DAY), ("1-3-2020", DAY), ("31/12/1969", -1), ("03/13/2020", DAY + 12),
]  # fmt: skip
MONTH_FIRST: list[tuple[str, float | None]] = [
    ("03/01/2020", DAY), ("3/1/20", DAY), ("3/1/2020 12:00 PM", DAY + 0.5), ("12/31/1969", -1), ("13/03/2020", DAY + 12),
]  # fmt: skip
TIMES: list[tuple[str, float | None]] = [
    ("13:30", 13.5), ("1:30 pm", 13.5), ("12:00 am", 0), ("00:00:36", 0.01), ("100:00", None), ("13:75", None), ("-", NAN),
]  # fmt: skip
YES_NO: list[tuple[str, float | None]] = [
    ("yes", 1), ("No", 0), ("Y", 1), ("n", 0), ("TRUE", 1), ("false", 0), ("on", 1), ("off", 0), ("ja", 1), ("nein", 0),
    ("oui", 1), ("non", 0), ("sí", 1), ("1", 1), ("0", 0), ("", NAN),
]  # fmt: skip

TABLE = [
    *(("number", AMONG_DOTS, text, found) for text, found in DOTS),
    *(("number", AMONG_COMMAS, text, found) for text, found in COMMAS),
    *(("number", [beside] * 20, text, found) for _, beside, text, found in UNITS),
    *(("date", ["2019-05-06", "2021-01-02"] * 10, text, found) for text, found in DATES),
    *(("date", ["25/12/2019", "14/05/2020"] * 10, text, found) for text, found in DAY_FIRST),
    *(("date", ["12/25/2019", "05/14/2020"] * 10, text, found) for text, found in MONTH_FIRST),
    *(("time", ["08:15", "9:30", "22:00"] * 10, text, found) for text, found in TIMES),
    *(("yes/no", ["yes", "no"] * 10, text, found) for text, found in YES_NO),
]


def test_there_are_enough_of_them() -> None:
    assert len(TABLE) >= 150


@pytest.mark.parametrize(
    ("kind", "beside", "text", "expected"), TABLE, ids=[f"{k} {b[0]} {t!a}" for k, b, t, _ in TABLE]
)
def test_an_odd_value_is_read_alike_in_a_dataset_and_in_a_query(
    tmp_path: Path, kind: str, beside: list[str], text: str, expected: float | None
) -> None:
    file = tmp_path / "t.csv"
    cells = [*beside, text]
    file.write_text("x,y\n" + "".join(f'"{cell}",{i % 2}\n' for i, cell in enumerate(cells)), "utf-8")
    dataset = utils.dataset.load_dataset_of_table(str(file))
    column = dataset.schema.column("x")
    assert column.reading.kind == kind
    encoder = utils.dataset.FeatureEncoder.fit(dataset)
    in_dataset = encoder.encode(dataset)[-1, 0]
    in_query = encoder.encode_queries([{"x": f" {text} "}])[0, 0]
    wanted = NAN if expected is None else expected
    np.testing.assert_allclose([in_dataset, in_query], [wanted, wanted], rtol=1e-12)
    if expected is None:
        assert f"row {len(cells) + 1}: {text!r}" in "".join(column.warnings), "nothing is lost without a word"


CODES = [
    ["00123", "02139", "94105", "10001"], ["1234567890123456701", "1234567890123456702"],
    ["7", "007", "07", "12"], ["none-yet", "1234567890123456701", "1234567890123456702"],
]  # fmt: skip


@pytest.mark.parametrize("codes", CODES, ids=lambda codes: codes[0])
def test_codes_that_look_like_numbers_are_names(codes: list[str]) -> None:
    column = profile_rows(["x"], [(i + 2, [text]) for i, text in enumerate(codes * 5)]).columns[0]
    assert column.reading.kind is ColumnKind.CATEGORY
    assert "row " in column.warnings[0]


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("zip", ["10115", "80331", "20095"] * 4, ColumnKind.CATEGORY),
        ("amount", ["10115", "80331", "20095"] * 4, ColumnKind.NUMBER),
        ("customer_id", [str(7 * i) for i in range(30)], ColumnKind.IDENTIFIER),
        ("index", [str(i) for i in range(30)], ColumnKind.IDENTIFIER),
        ("day", [str(i) for i in range(30)], ColumnKind.NUMBER),
        ("token", [f"k{i}x" for i in range(30)], ColumnKind.IDENTIFIER),
        ("text", [f"the quick {i} brown fox of day {i}" for i in range(30)], ColumnKind.TEXT),
        ("color", ["red", "blue", "dark green"] * 10, ColumnKind.CATEGORY),
        ("same", ["7"] * 30, ColumnKind.CONSTANT),
        ("nothing", ["", "NA", "-"] * 10, ColumnKind.EMPTY),
        ("sign", ["+", "-"] * 10, ColumnKind.CATEGORY),
        ("mixed", ["1", "2", "a", "b"] * 10, ColumnKind.CATEGORY),
        ("class", ["1st", "2nd", "3rd"] * 10, ColumnKind.NUMBER),
        ("sizes", ["5 kg", "3 m", "7 s"] * 10, ColumnKind.CATEGORY),
        ("date", ["20200101", "20191231"] * 10, ColumnKind.DATE),
        ("count", ["20200101", "20191231"] * 10, ColumnKind.NUMBER),
        ("ip", ["10.0.0.1", "10.0.0.2"] * 10, ColumnKind.CATEGORY),
        ("version", ["1.2.3", "1.2.4"] * 10, ColumnKind.CATEGORY),
        ("bits", ["0", "1"] * 10, ColumnKind.NUMBER),
    ],
)
def test_a_column_is_of_the_kind_that_people_see(name: str, cells: list[str], kind: ColumnKind) -> None:
    profiler = ColumnProfiler(name)
    for i, text in enumerate(cells):
        profiler.add(i + 2, text)
    assert profiler.conclude().reading.kind is kind


def test_an_order_of_day_and_month_that_no_row_tells_is_said() -> None:
    column = profile_rows(["d"], [(i + 2, [text]) for i, text in enumerate(["01/02/2020", "03/04/2021"])]).columns[0]
    assert column.warnings == [
        "row 2: '01/02/2020' may begin with the day or the month, and no row tells which; it is read month first"
    ]


def test_one_column_tells_the_decimal_mark_of_the_others() -> None:
    rows = [(i + 2, ["1,234", sure]) for i, sure in enumerate(["0,5", "1,25", "7,75"])]
    assert profile_rows(["x", "z"], rows).column("x").most_frequent == [("1,234", 3)]
    rows = [(2, ["1,234", "0,5"]), (3, ["2,345", "1,25"])]
    assert profile_rows(["x", "z"], rows).column("x").low == 1.234
    assert profile_rows(["x", "z"], [(2, ["1,234", "0.5"]), (3, ["2,345", "1.25"])]).column("x").low == 1234


def test_a_column_of_more_texts_than_are_remembered_is_looked_at_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rafiki.data.profile.MOST_DISTINCT", 10)
    rows = [(i + 2, [f"{i}.5"]) for i in range(1000)]
    column = profile_rows(["x"], [*rows, (1002, ["oops"]), (1003, ["oops"])]).columns[0]
    assert (column.reading.kind, column.low, column.high, column.n_odd) == (ColumnKind.NUMBER, 0.5, 999.5, 2)
    assert column.warnings == ["row 1002: 'oops' is no number, and so are 1 others; it counts as missing"]
