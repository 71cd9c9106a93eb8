"""How the YAML that people write for Rafiki reads numbers.

PyYAML knows YAML 1.1 alone, in which `1e3` and `1.0e3` are texts, `010` is 8 and `1:30` is 90. Here, as in YAML 1.2,
the first two are numbers and the last is a text; so is `010`: whoever writes it seldom means 8.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import yaml

_TAG = "tag:yaml.org,2002:"
_INT = re.compile(r"(?:[-+]?0b[01_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?(?:0|[1-9][0-9_]*))$")
_FLOAT = re.compile(
    r"(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_WRITTEN_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")


@cache
def loader() -> type[yaml.SafeLoader]:
    """The class that PyYAML's functions take as ``Loader``."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Plain values alone, with numbers as this module says."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in known if tag not in (f"{_TAG}int", f"{_TAG}float")]
            for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    for name, pattern in (("int", _INT), ("float", _FLOAT)):
        Loader.add_implicit_resolver(f"{_TAG}{name}", pattern, list("-+0123456789."))
    return Loader


@cache
def resolver() -> yaml.resolver.Resolver:
    """What finds the tag of a plain text, as :func:`loader` does."""
    import yaml

    class Resolver(yaml.resolver.Resolver):
        """With the resolvers of the loader."""

        yaml_implicit_resolvers = loader().yaml_implicit_resolvers

    return Resolver()


def number_in(text: str) -> int | float | None:
    """The number that a text holds, as people write one (`10`, `1_000`, `1e3`, `.5`); None for another text."""
    if not _WRITTEN_NUMBER.fullmatch(text.strip()):
        return None
    plain = text.strip().replace("_", "")
    try:
        return int(plain)
    except ValueError:
        found = float(plain)
    return found if abs(found) != float("inf") else None


def whole(value: object) -> int | None:
    """A whole number that is written as another one: 1000 for 1000.0, which `1e3` is read as."""
    return int(value) if isinstance(value, float) and value.is_integer() else None


def written(value: float) -> str:
    """A number as YAML and JSON read it back, whole where it is."""
    found = whole(value)
    return str(found) if found is not None and abs(found) < 10**15 else repr(value)
