"""Turns a model file into its class, and its failures into sentences.

Runs user code: only for train and inference workers, `rafiki model test` and the throw-away process that reads knobs.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import itertools
import os
import shutil
import socket
import sys
import tempfile
import traceback
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from typing import NamedTuple

from rafiki.errors import ModelError, RafikiError
from rafiki.model.base import REQUIRED_METHODS, BaseModel

_BOX = "/run/rafiki"
"""A folder that boxes have, and machines do not."""
_MOST_CAUSES = 8
_MAX_REASON_CHARS = 600
_counter = itertools.count(1)
_loaded_paths: set[str] = set()


def load_model_class(
    model_file_bytes: bytes | str, model_class: str, temp_mod_name: str | None = None, file_name: str = "model.py"
) -> type[BaseModel]:
    """The class ``model_class`` of a model file.

    The file is kept in a temporary folder until the process ends, so that tracebacks and ``inspect`` find its lines.

    Args:
        model_file_bytes: the Python source.
        model_class: the name of a class in it.
        temp_mod_name: the module's name; a fresh one by default, so that two versions of a file do not mix.
        file_name: what messages call the file.

    Raises:
        ModelError: when the file does not compile or import, or holds no such subclass of BaseModel, or the class
            lacks a method.
    """
    source = model_file_bytes.encode() if isinstance(model_file_bytes, str) else bytes(model_file_bytes)
    digest = hashlib.sha256(source).hexdigest()[:8]
    name = temp_mod_name or f"rafiki_model_{digest}_{next(_counter)}"
    folder = _temporary_folder()
    path = folder / f"{name}.py"
    path.write_bytes(source)
    _share_with_children(folder)
    return _load(path, source, model_class, name, file_name)


def load_model_class_from_path(model_file_path: Path | str, model_class: str) -> type[BaseModel]:
    """As :func:`load_model_class`, for a file in its own place.

    Raises:
        ModelError: as there, and when the file cannot be read.
    """
    path = Path(model_file_path).absolute()
    try:
        source = path.read_bytes()
    except OSError as e:
        raise ModelError(f"The model file {path} cannot be read: {e.strerror}.") from e
    name = f"rafiki_model_{path.stem}_{next(_counter)}"
    if name.isidentifier():
        folder = _temporary_folder()
        (folder / f"{name}.py").write_bytes(source)
        _share_with_children(folder)
    return _load(path, source, model_class, name, path.name)


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="rafiki-model-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _share_with_children(folder: Path) -> None:
    """Let processes that model code starts import its module: what is defined there travels to them by its name.

    Last on the path, in a folder of its own: it hides nothing.
    """
    sys.path.append(str(folder))
    known = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([*([known] if known else []), str(folder)])


def _load(path: Path, source: bytes, model_class: str, mod_name: str, file_name: str) -> type[BaseModel]:
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as e:
        # ValueError: a null byte in the source.
        raise ModelError(f"{file_name} is no valid Python: {user_traceback(e, file_name)}") from e
    module = module_from_spec(ModuleSpec(mod_name, SourceFileLoader(mod_name, str(path)), origin=str(path)))
    module.__file__ = str(path)
    # Registered before it runs: dataclasses and the like look their module up.
    sys.modules[mod_name] = module
    _loaded_paths.add(str(path))
    try:
        exec(code, module.__dict__)
    except ModuleNotFoundError as e:
        del sys.modules[mod_name]
        package = (e.name or "").partition(".")[0]
        raise ModelError(
            f"{file_name} needs the package {package!r}, which is not installed where the model runs "
            f"{_where(e, file_name)}. Add it to the model's dependencies, or install it there."
        ) from e
    except (Exception, SystemExit, GeneratorExit) as e:  # the model's own code ran: it may raise anything
        del sys.modules[mod_name]
        raise ModelError(f"{file_name} cannot be imported: {user_traceback(e, file_name)}") from e
    found = module.__dict__.get(model_class)
    if not isinstance(found, type):
        classes = [
            name for name, value in vars(module).items() if isinstance(value, type) and value.__module__ == mod_name
        ]
        has = f"it defines {', '.join(classes)}" if classes else "it defines no class"
        raise ModelError(f"{file_name} has no class {model_class!r}; {has}.")
    if not issubclass(found, BaseModel):
        raise ModelError(f"The class {model_class} in {file_name} must extend rafiki.model.BaseModel.")
    missing = [name for name in REQUIRED_METHODS if getattr(found, name) is getattr(BaseModel, name)]
    if missing:
        raise ModelError(f"The class {model_class} in {file_name} does not define {'(), '.join(missing)}().")
    return found


def _where(e: BaseException, file_name: str) -> str:
    """``(line 23 of my_model.py, in train)``: the deepest line of model code; empty when there is none."""
    if isinstance(e, SyntaxError) and e.lineno is not None and _is_model_file(e.filename or "", file_name):
        return f"(line {e.lineno} of {file_name})"
    for frame in reversed(traceback.extract_tb(e.__traceback__)):
        if _is_model_file(frame.filename, file_name):
            place = "" if frame.name == "<module>" else f", in {frame.name}"
            return f"(line {frame.lineno} of {file_name}{place})"
    return ""


class UserFrame(NamedTuple):
    """One line of model code on the way to where it failed."""

    line: int
    function: str
    code: str


def user_frames(exc: BaseException, filename: str = "model.py", most: int = 5) -> list[UserFrame]:
    """The traceback cut to the model's own file: the ``most`` deepest lines of it, the deepest last."""
    if isinstance(exc, SyntaxError) and exc.lineno is not None and _is_model_file(exc.filename or "", filename):
        return [UserFrame(exc.lineno, "<module>", (exc.text or "").strip())]
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if _is_model_file(f.filename, filename)]
    return [UserFrame(f.lineno or 0, f.name, (f.line or "").strip()) for f in frames[-most:]]


def _is_model_file(path: str, file_name: str) -> bool:
    return path in _loaded_paths or Path(path).name == file_name or "rafiki-model-" in path


def _words_of(exc: BaseException) -> str:
    try:
        return " ".join(str(exc).split())
    except Exception:  # noqa: BLE001 - a class of the model's own: it may fail even at its words
        return ""


def user_traceback(exc: BaseException, filename: str = "model.py") -> str:
    """What happened in model code, in one line: ``ValueError: bad shape (line 23 of my_model.py, in train)``.

    Args:
        exc: what the model's code raised.
        filename: what to call the model's file; frames of files loaded by this module, or of this name, count as it.
    """
    if isinstance(exc, RafikiError):
        text = exc.message
    elif isinstance(exc, SystemExit):
        text = f"it calls sys.exit({exc.code!r})"
    elif isinstance(exc, SyntaxError):
        text = f"{type(exc).__name__}: {exc.msg}" + (f": {exc.text.strip()!r}" if exc.text else "")
    else:
        message = _words_of(exc)
        text = f"{type(exc).__name__}: {message}" if message else type(exc).__name__
    if len(text) > _MAX_REASON_CHARS:
        text = text[:_MAX_REASON_CHARS] + " ..."
    return f"{text} {_where(exc, filename)}".rstrip() + _hint_of_box(exc)


def _hint_of_box(exc: BaseException) -> str:
    """What to set, where a box (:mod:`rafiki.sandbox`) keeps model code from a file or from the network."""
    if not os.path.isdir(_BOX):
        return ""
    cause: BaseException | None = exc
    for _ in range(_MOST_CAUSES):
        if isinstance(cause, socket.gaierror) or getattr(cause, "errno", None) == errno.ENETUNREACH:
            return ". Models run in a box without a network here: container.network in rafiki.yaml gives them one."
        if isinstance(cause, BlockingIOError) or "can't start new thread" in str(cause):
            return ". Where it starts processes or threads: container.max_processes in rafiki.yaml limits them."
        if isinstance(cause, MemoryError):
            return ". Its memory is limited: container.memory_limit_mb in rafiki.yaml."
        if isinstance(cause, FileNotFoundError | PermissionError):
            name = os.fsdecode(cause.filename) if isinstance(cause.filename, str | bytes) else ""
            if os.path.isabs(name):
                return ". Models run in a box here: container.readable in rafiki.yaml names what they may read."
        cause = cause and (cause.__cause__ or cause.__context__)
    return ""
