"""Why a text is no YAML, in Rafiki's own words: those of a reader change with its version."""

from __future__ import annotations

import re

_REASONS = [
    (r"found character '\\t'", "indent and separate with spaces, not tabs."),
    (r"found undefined alias '(.+)'", r"the alias *\1 has no anchor &\1 before it."),
    (r"found duplicate anchor '?([^';]+)'?", r"the anchor &\1 stands here a second time."),
    (r"mapping values are not allowed", "a colon stands where none can: put the text in quotes, or check the indent."),
    (r"found unexpected end of stream", "a quote or bracket is not closed."),
    (r"expected <block end>", "the indent does not fit the lines above."),
    (r"could not find expected ':'", "a colon is missing after a key (`key: value`)."),
    (r"expected ',' or '[\]}]'", "a comma or closing bracket is missing (inside of [] and {}, put ${...} in quotes)."),
    (r"could not determine a constructor for the tag '(?:tag:yaml.org,2002:)?(.+)'",
     r"!!\1 stands for no plain value."),
    (r"cannot start any token", "this character cannot begin a value: put the text in quotes."),
    (r"expected a single document", "a second document begins here."),
    (r"found unhashable key", "a key must be a name (`key: value`)."),
    (r"expected <document start>", "the lines above end the document: check the indent."),
    (r"block sequence entries are not allowed", "a list (`- item`) cannot stand here: put it below its key."),
    (r"found unknown escape character '(.+)'", r"\\\1 is no escape in double quotes: use single quotes."),
]  # fmt: skip


def why_not_yaml(error: Exception) -> str:
    """What is wrong, from the error of a YAML reader; it begins with ``this is not valid YAML``.

    What is not known here is not told in the reader's words: they name its own states and tags.
    """
    problem = str(getattr(error, "problem", None) or error)
    for pattern, reason in _REASONS:
        if m := re.search(pattern, problem):
            return f"this is not valid YAML: {m.expand(reason)}"
    return "this is not valid YAML."
