"""The valid name that a mistyped one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable

ALIKE = 0.6
"""How alike two names must be to be named together, from 0 to 1: for names that people gave."""
ROUGHLY_ALIKE = 0.5
"""The same for settings and keys: there are few of them, and one of them was meant."""


def find_nearest(wanted: str, names: Iterable[str], least: float = ALIKE) -> str | None:
    """The one of ``names`` that is most like ``wanted``; None when none is alike enough.

    Args:
        least: how alike, from 0 (anything is) to 1 (the same).
    """
    import difflib

    known = [str(name) for name in names]
    # Two letters that changed places are the commonest slip: `trian` is `train` before it is `trial`.
    swapped = (name for name in known if sorted(name) == sorted(wanted))
    return next(swapped, None) or next(iter(difflib.get_close_matches(wanted, known, n=1, cutoff=least)), None)


def did_you_mean(wanted: str, names: Iterable[str], otherwise: str = "", least: float = ALIKE) -> str:
    """``Did you mean 'train'?``, or ``otherwise`` when no name is near."""
    found = find_nearest(wanted, names, least)
    return f"Did you mean {found!r}?" if found is not None else otherwise


def nearest_or_all(wanted: str, names: Iterable[str]) -> str:
    """``Did you mean 'trials'?`` or ``Valid: trials, hours.``: for the keys and settings of files."""
    known = list(names)
    return did_you_mean(wanted, known, f"Valid: {', '.join(known)}.", ROUGHLY_ALIKE)
