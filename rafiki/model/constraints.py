"""Constraints between knobs: Python expressions such as ``min_leaf <= max_leaf``, evaluated without running Python.

A model template names them in ``get_knob_constraints()``. They are written by users and evaluated in trusted
processes, so an expression is parsed and walked here, never compiled: comparisons, ``and``, ``or``, ``not``,
arithmetic on numbers, ``in`` with a list, ``min``, ``max``, ``abs``, ``a if b else c``, and positions of an
architecture (``cell[0]``).
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from rafiki.errors import ModelError
from rafiki.model.knobs import KnobConfig, PolicyKnob

_Node: TypeAlias = Callable[[Mapping[str, Any]], Any]
_MOST_CHARS = 1000
_MOST_CONSTRAINTS = 100
_DEEPEST = 100

_COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
# No powers, no shifts: numbers stay of a size that costs nothing.
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}


class Constraint:
    """One expression over knobs.

    Raises:
        ModelError: when it is no expression, holds what none may hold, or names what is no knob.
    """

    def __init__(self, text: str, knob_names: Iterable[str]) -> None:
        self.text = text
        names = set(knob_names)
        if not isinstance(text, str) or len(text) > _MOST_CHARS:
            raise ModelError(f"A constraint must be a text of at most {_MOST_CHARS} characters, not {text!r:.80}.")
        try:
            tree = ast.parse(text.strip(), mode="eval")
            unknown = sorted({n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - names - _FUNCTIONS.keys())
            if unknown:
                raise ModelError(
                    f"The constraint {text!r} names {', '.join(unknown)}; the knobs are {', '.join(sorted(names))}."
                )
            self._holds = _Builder(text, names).build(tree.body)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as e:
            raise ModelError(f"The constraint {text!r} is no expression: {e}.") from e

    def holds(self, knobs: Mapping[str, object]) -> bool:
        """Whether knobs satisfy it. What cannot be evaluated (a division by zero) does not hold.

        Raises:
            ModelError: when it cannot be evaluated for any knobs: a text is compared with a number.
        """
        try:
            return bool(self._holds(knobs))
        except (ZeroDivisionError, OverflowError):
            return False
        except (TypeError, IndexError, ValueError) as e:
            raise ModelError(f"The constraint {self.text!r} cannot be evaluated: {e}.") from e


class _Builder:
    """Turns an expression's tree into nested functions of the knobs."""

    def __init__(self, text: str, names: set[str]) -> None:
        self._text, self._names = text, names

    def build(self, node: ast.expr, depth: int = 0) -> _Node:
        """The function of a node. It is called as deep as the node is nested, wherever the caller's stack is then."""
        if depth > _DEEPEST:
            raise ModelError(
                f"The constraint {self._text!r} is nested more than {_DEEPEST} deep. Write several constraints."
            )
        return self._build(node, depth + 1)

    def _build(self, node: ast.expr, depth: int) -> _Node:
        match node:
            case ast.Constant(value=bool() | int() | float() | str()):
                value = node.value
                return lambda knobs: value
            case ast.Name(id=name) if name in self._names:
                return lambda knobs: knobs[name]
            case ast.BoolOp(op=op, values=values):
                parts = [self.build(v, depth) for v in values]
                decide = all if isinstance(op, ast.And) else any
                return lambda knobs: decide(part(knobs) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.build(operand, depth)
                return lambda knobs: not inner(knobs)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.build(operand, depth)
                return lambda knobs: -_number(inner(knobs))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                a, b, do = self.build(left, depth), self.build(right, depth), _ARITHMETIC[type(op)]
                return lambda knobs: do(_number(a(knobs)), _number(b(knobs)))
            case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(o) in _COMPARISONS for o in ops):
                terms = [self.build(t, depth) for t in (left, *comparators)]
                tests = [_COMPARISONS[type(o)] for o in ops]
                return lambda knobs: all(test(terms[i](knobs), terms[i + 1](knobs)) for i, test in enumerate(tests))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                condition, yes, no = self.build(test, depth), self.build(body, depth), self.build(orelse, depth)
                return lambda knobs: yes(knobs) if condition(knobs) else no(knobs)
            case ast.List(elts=items) | ast.Tuple(elts=items):
                members = [self.build(item, depth) for item in items]
                return lambda knobs: [member(knobs) for member in members]
            case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=int() as position)) if (
                name in self._names
            ):
                return lambda knobs: knobs[name][position]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS and args:
                do_call, arguments = _FUNCTIONS[name], [self.build(a, depth) for a in args]
                return lambda knobs: do_call(*(argument(knobs) for argument in arguments))
        raise ModelError(
            f"The constraint {self._text!r} holds {ast.unparse(node)!r}, which no constraint may hold. Write "
            "comparisons of knobs and numbers, and, or, not, + - * / // %, in, min, max, abs."
        )


def _number(value: Any) -> Any:
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"{value!r} is no number")


def parse_constraints(texts: Iterable[str], knob_config: KnobConfig) -> list[Constraint]:
    """The constraints of a model template. They cannot name policies, which the search turns on and off by itself.

    Raises:
        ModelError: naming the one that is wrong.
    """
    found = list(texts)
    if len(found) > _MOST_CONSTRAINTS:
        raise ModelError(f"{len(found)} constraints; {_MOST_CONSTRAINTS} are the most.")
    names = [name for name, knob in knob_config.items() if not isinstance(knob, PolicyKnob)]
    return [Constraint(text, names) for text in found]
