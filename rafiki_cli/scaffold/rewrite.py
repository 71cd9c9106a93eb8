"""Turns the source of a bundled template into a model of one's own: by its syntax tree and tokens, not by searching."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable

from rafiki_cli.scaffold.catalogue import Template
from rafiki_cli.scaffold.find_class import model_classes
from rafiki_cli.terminal import UsageError


def make_model_source(template: Template, model_class: str) -> str:
    """The template's file with one model in it, called ``model_class``.

    Models for other tasks in the file are left out, and what only they imported; the docstring tells what the file is.

    Raises:
        UsageError: when the file uses that name for something else.
    """
    source = template.source()
    source = _without_classes(source, set(model_classes(source)) - {template.model_class})
    if model_class != template.model_class:
        if model_class in _names(source):
            raise UsageError(
                f"The template {template.name} uses the name {model_class!r} for something else. Choose another."
            )
        source = _rename(source, template.model_class, model_class)
    return _with_docstring(_with_sorted_imports(source), template, model_class)


def _names(source: str) -> set[str]:
    """Every name in the source, also of what is imported and of attributes."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.string for token in tokens if token.type == tokenize.NAME}


def _rename(source: str, old: str, new: str) -> str:
    """The source with its class ``old`` called ``new``, where it is defined and where it is used.

    Attributes of that name (``sklearn.ensemble.X``) and texts are something else.
    """
    tree = ast.parse(source)
    places = [
        (node.lineno, node.col_offset) for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == old
    ]
    places += [
        (node.lineno, node.col_offset + len("class "))
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == old
    ]
    # In bytes, as the syntax tree counts columns.
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    for row, column in sorted(places, reverse=True):
        line = lines[row - 1]
        lines[row - 1] = line[:column] + new.encode() + line[column + len(old) :]
    return b"".join(lines).decode()


def _without_classes(source: str, names: Iterable[str]) -> str:
    gone = set(names)
    if not gone:
        return source
    lines = source.splitlines(keepends=True)
    body = ast.parse(source).body
    for i in reversed(range(len(body))):
        node = body[i]
        if isinstance(node, ast.ClassDef) and node.name in gone:
            # From the end of what stands before it: comments above a class belong to it.
            start = (body[i - 1].end_lineno or 0) if i else 0
            del lines[start : node.end_lineno]
    return _without_unused_imports("".join(lines).rstrip("\n") + "\n")


def _without_unused_imports(source: str) -> str:
    """The source without names of ``from x import a, b`` at its top level that nothing else mentions."""
    tree = ast.parse(source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    lines = source.splitlines(keepends=True)
    for node in reversed(tree.body):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        kept = [a for a in node.names if (a.asname or a.name).partition(".")[0] in used]
        if len(kept) == len(node.names):
            continue
        start, end = node.lineno - 1, node.end_lineno or node.lineno
        node.names = kept
        lines[start:end] = [f"{ast.unparse(node)}\n"] if kept else []
    return "".join(lines)


def _with_sorted_imports(source: str) -> str:
    """The imports at the top as isort orders them where Rafiki is one package among others, and not the project."""
    body = ast.parse(source).body
    lines = source.splitlines(keepends=True)
    imports: list[ast.Import | ast.ImportFrom] = []
    for node in body[1:]:  # After the docstring.
        if not isinstance(node, ast.Import | ast.ImportFrom):
            break
        imports.append(node)
    groups: dict[bool, list[tuple[bool, str, str]]] = {False: [], True: []}
    for found in imports:
        module = (found.module if isinstance(found, ast.ImportFrom) else found.names[0].name) or ""
        is_foreign = module.partition(".")[0] not in sys.stdlib_module_names
        text = "".join(lines[found.lineno - 1 : found.end_lineno])
        groups[is_foreign].append((isinstance(found, ast.ImportFrom), module, text))
    blocks = ["".join(text for *_, text in sorted(group)) for group in groups.values() if group]
    if not imports:
        return source
    start, end = imports[0].lineno - 1, imports[-1].end_lineno
    return "".join([*lines[:start], "\n".join(blocks), *lines[end:]])


def _with_docstring(source: str, template: Template, model_class: str) -> str:
    """The docstring says first which model the file holds, and last where it came from."""
    node = ast.parse(source).body[0]
    lines = source.splitlines(keepends=True)
    old = "".join(lines[node.lineno - 1 : node.end_lineno])
    match = re.fullmatch(r'(r?""")(.*)"""\s*', old, re.DOTALL)
    if match is None:
        raise ValueError(f"{template.path}: its docstring must stand alone, in triple quotes.")
    opening, text = match[1], match[2].strip()
    new = (
        f"{opening}{model_class}, a model for {template.task}.\n\n{text}\n\n"
        f'Made from the template {template.name} of Rafiki.\n"""\n'
    )
    return "".join([*lines[: node.lineno - 1], new, *lines[node.end_lineno or 0 :]])
