"""The command that installs what a model depends on. It travels with models, so it needs no library."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

from rafiki.constants import ModelDependency
from rafiki.errors import ModelError

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(\[[A-Za-z0-9._, -]+\])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.*+!-]*")
_RANGE = re.compile(r"(===|~=|==|!=|<=|>=|<|>) *[0-9][A-Za-z0-9.*+!-]*")
_FIRST_WITH_GPUS = (2, 1)
"""TensorFlow for GPUs was a package of its own before."""


def parse_model_install_command(dependencies: Mapping[str, str], enable_gpu: bool = False) -> str:
    """The command that installs a model's dependencies, such as ``pip install scikit-learn==1.4.2``; empty without any.

    Args:
        dependencies: PyPI package -> version, range or ``""``.
        enable_gpu: packages that use GPUs, where those are others.

    Raises:
        ModelError: naming the dependency that is no PyPI name or whose version is none.
    """
    texts = [shlex.quote(_requirement(name, version.strip(), enable_gpu)) for name, version in dependencies.items()]
    return f"pip install {' '.join(texts)}" if texts else ""


def _requirement(name: str, version: str, enable_gpu: bool) -> str:
    is_pinned = _VERSION.fullmatch(version) is not None
    is_range = all(_RANGE.fullmatch(part.strip()) for part in version.split(",")) if version else True
    if not _NAME.fullmatch(name) or not (is_pinned or is_range):
        raise ModelError(f"The dependency {name!r} of version {version!r} is no PyPI package with a version.")
    first_numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    is_tensorflow = name.lower() == str(ModelDependency.TENSORFLOW)
    if enable_gpu and is_tensorflow and is_pinned and first_numbers < _FIRST_WITH_GPUS:
        return f"tensorflow-gpu=={version}"
    return f"{name}=={version}" if is_pinned else f"{name}{version}"
