"""The text of ``rafiki.yaml``: its values, and the lines of its keys."""

from __future__ import annotations

from rafiki.errors import ConfigError


def key_lines(text: str, file: str) -> dict[str, int]:
    """The line of each ``section`` and ``section.key`` of a YAML text; refuses a key that stands twice."""
    import yaml

    from rafiki.utils.yaml_keys import find_duplicate_key

    lines: dict[str, int] = {}
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if found := find_duplicate_key(root):
        key, first, second = found
        raise ConfigError(f"{file}, line {second}: {key} stands here a second time (first in line {first}).")
    for section, settings in getattr(root, "value", []):
        lines[section.value] = section.start_mark.line + 1
        if isinstance(settings, yaml.MappingNode):
            for key, _ in settings.value:
                lines[f"{section.value}.{key.value}"] = key.start_mark.line + 1
    return lines


def read_yaml(text: str, where: str) -> object:
    """The values of a YAML text.

    Raises:
        ConfigError: when it is none; it begins with ``where``.
    """
    import yaml

    from rafiki.utils import yaml_numbers

    try:
        return yaml.load(text, yaml_numbers.loader())
    except yaml.YAMLError as e:
        from rafiki.utils.yaml_reasons import why_not_yaml

        mark = getattr(e, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: {why_not_yaml(e)}") from e


def check_yaml(text: str, where: str) -> None:
    """Refuse a text that is no YAML.

    Raises:
        ConfigError: saying where and why; it begins with ``where``.
    """
    read_yaml(text, where)
