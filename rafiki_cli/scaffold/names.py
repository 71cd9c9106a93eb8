"""Names of apps, classes and files: which are good, and how one follows from another."""

from __future__ import annotations

import keyword
import re
from typing import NamedTuple

from rafiki_cli.terminal import UsageError

_APP = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,79}")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_MOST_CHARS = 80
# `test_` files are tests and `conftest` is pytest's own.
_TAKEN_MODULES = {"conftest", "rafiki"}


class ModelName(NamedTuple):
    """One model's names."""

    model_class: str
    """``DigitsTree``"""
    module: str
    """``digits_tree``: its file without ``.py``."""


def parse_model_name(name: str) -> ModelName:
    """The names of a model called ``DigitsTree`` or ``digits_tree``.

    Raises:
        UsageError: when it can be no class, saying why and, where there is one, a name that can.
    """
    if not name.isidentifier() or not name.isascii():
        fitting = _fitting_class(name)
        hint = f" Write {fitting!r}." if fitting else " Write a name such as 'DigitsTree'."
        raise UsageError(
            f"{name!r} is no name of a Python class: letters (A to Z), digits and _ alone, no digit at first.{hint}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise UsageError(f"{name!r} is a word of Python itself. Choose another name, such as {camel_case(name)}Model.")
    if len(name) > _MOST_CHARS:
        raise UsageError(f"{name[:20]}...: a name of {len(name)} letters; {_MOST_CHARS} are the most.")
    model_class = name if name[0].isupper() else camel_case(name)
    module = snake_case(model_class)
    if not model_class or not module or not model_class.isidentifier():
        raise UsageError(f"{name!r} holds no letter. Write a name such as 'DigitsTree'.")
    if module in _TAKEN_MODULES or module.startswith("test_") or keyword.iskeyword(module):
        raise UsageError(f"{name!r} would be kept in {module}.py, a name with a meaning of its own. Choose another.")
    return ModelName(model_class, module)


def _fitting_class(name: str) -> str | None:
    """A class's name that follows from ``name``; None where none does."""
    found = re.sub(r"^[0-9]+", "", camel_case(name))[:_MOST_CHARS]
    try:
        return parse_model_name(found).model_class if found else None
    except UsageError:
        return None


def plain_letters(text: str) -> str:
    """``blå bær`` -> ``bla baer``, ``вино`` -> ``vino``: letters of any script as those from A to Z that mean them."""
    if text.isascii():
        return text
    from anyascii import anyascii

    return anyascii(text)


def camel_case(text: str) -> str:
    """``my-digits_tree`` -> ``MyDigitsTree``."""
    return "".join(word[0].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", plain_letters(text)) if word)


def snake_case(text: str) -> str:
    """``DigitsTree`` -> ``digits_tree``, ``HTTPModel2`` -> ``http_model_2``."""
    return "_".join(word.lower() for word in _WORDS.findall(text))


def check_app(name: str) -> str:
    """The name of an app, as given by ``--name``.

    Raises:
        UsageError: when commands, addresses and files could not hold it as it is.
    """
    if not _APP.fullmatch(name):
        raise UsageError(
            f"--name {name!r}: write a letter (A to Z) first, then letters, digits, '.', '_' and '-'; {_MOST_CHARS} at "
            f"most. {_would_do(name)}"
        )
    return name


def app_from(folder_name: str) -> str:
    """A name for the app of a project in a folder of that name.

    Raises:
        UsageError: when none follows from it: it has no letter that a name may hold.
    """
    found = _find_app(folder_name)
    if found is None:
        raise UsageError(f"No name of an app follows from the folder {folder_name!r}. Choose one: --name my-app.")
    return found


def _would_do(name: str) -> str:
    return f"{_find_app(name) or 'my-app'!r} would do."


def _find_app(text: str) -> str | None:
    found = re.sub(r"[^A-Za-z0-9_.-]+", "-", plain_letters(text)).strip("-._")
    if not found:
        return None
    found = found if found[0].isalpha() else f"app-{found}"
    return found[:_MOST_CHARS].rstrip("-._")
