"""A table of rows for where pandas is not installed."""

from __future__ import annotations

import importlib.util
from collections import namedtuple
from collections.abc import Iterator, Mapping, Sequence


class RowTable:
    """The few methods of a pandas DataFrame that reading a table takes; each does what that of pandas does."""

    def __init__(self, columns: Mapping[str, Sequence[object]]) -> None:
        self._columns = {name: list(values) for name, values in columns.items()}

    @property
    def columns(self) -> list[str]:
        return list(self._columns)

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), []))

    def __getitem__(self, column: str) -> list[object]:
        """The values of a column.

        Raises:
            KeyError: there is no such column.
        """
        return self._columns[column]

    def __getattr__(self, name: str) -> list[object]:
        # Only called for what is no attribute: a column, as in table.transcript.
        try:
            return self.__dict__["_columns"][name]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(
                f"{name!r} is neither a column nor a method of this table; with pandas installed it is a DataFrame."
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def iterrows(self) -> Iterator[tuple[int, dict[str, object]]]:
        yield from enumerate(self.to_dict())

    def itertuples(self, index: bool = True, name: str = "Pandas") -> Iterator[tuple[object, ...]]:
        row = namedtuple(name, [*(["Index"] if index else []), *self._columns])  # type: ignore[misc]
        for i, values in enumerate(zip(*self._columns.values(), strict=True)):
            yield row(*([i] if index else []), *values)

    def to_dict(self, orient: str = "records") -> list[dict[str, object]]:
        """One dict a row; ``records`` is the one orientation that is known here."""
        if orient != "records":
            raise ValueError(f"Without pandas there is to_dict('records') alone, not {orient!r}.")
        return [dict(zip(self._columns, values, strict=True)) for values in zip(*self._columns.values(), strict=True)]


def make_table(columns: Mapping[str, Sequence[object]]) -> object:
    """A pandas DataFrame of the columns where pandas is installed, else a :class:`RowTable`."""
    if importlib.util.find_spec("pandas") is None:
        return RowTable(columns)
    pandas = importlib.import_module("pandas")
    table: object = pandas.DataFrame({name: list(values) for name, values in columns.items()})
    return table
