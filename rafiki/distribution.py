"""What Rafiki is called where packages are installed: its modules are ``rafiki``, its distribution is ``rafiki-ml``.

On the public index ``rafiki`` is a package of others, whose modules are in a folder of the same name. Where both are
installed in one environment, whichever came last overwrote ``rafiki/__init__.py``, and whichever is uninstalled takes
it away.
"""

from __future__ import annotations

from rafiki.version import __version__

NAME = "rafiki-ml"
NAMESAKE = "rafiki"
"""The distribution of others."""
NAMES = frozenset({NAME, NAMESAKE})
NAMESAKE_MODULE = "rafiki"
"""A module in that one's package, ``rafiki/rafiki.py``. Ours has none of that name."""
USER_AGENT = f"rafiki/{__version__}"
"""Who Rafiki says that it is where it asks over HTTP."""
LOCAL_REGISTRY = "127.0.0.1:1/"
"""Before the names of images that are loaded into nodes: nothing listens there, so that a Swarm, which asks an image's
registry first, goes on with what the node has."""
IMAGE = f"{LOCAL_REGISTRY}rafiki:{__version__}"
"""The image that `rafiki image build` makes."""
PIP_ARCHIVE = "pip.zip"
"""pip in that image, beside Rafiki's modules."""
PACKAGES_LABEL = "rafiki.packages"
"""Of that image: the versions of the packages in it, by their names, as JSON."""
MEND = (
    f"To mend it: first `pip uninstall {NAMESAKE}`, then `pip install --force-reinstall --no-deps {NAME}` (or, in "
    f"place of that name, the wheel or address that {NAME} came from), because uninstalling removes a file of both."
)


class NamesakeWarning(UserWarning):
    """Another package's modules are in the folder of ours."""


def with_extra(extra: str | None) -> str:
    """The distribution as pip is given it: ``rafiki-ml[torch]``."""
    return f"{NAME}[{extra}]" if extra else NAME


def install_command(extra: str | None) -> str:
    """What brings an extra to an installed Rafiki, wherever that came from: it is kept, and its extra's packages are
    installed."""
    return f"pip install '{with_extra(extra)}'" if extra else f"pip install {NAME}"


def warn_of_namesake() -> None:
    """Warn that the other package is in the same folder. Nothing is broken yet."""
    import warnings

    warnings.warn(
        f"The package {NAMESAKE!r} of others (game files) is installed in the folder of Rafiki, whose own is {NAME!r}: "
        f"when either is upgraded or uninstalled, the other breaks. {MEND}",
        NamesakeWarning,
        stacklevel=3,
    )


class OverwrittenError(ImportError):
    """Another package's modules took the place of ours."""

    def __init__(self) -> None:
        super().__init__(
            f"The package {NAMESAKE!r} of others (game files) was installed over Rafiki, whose own is {NAME!r}, and "
            f"took the place of its first module. {MEND}",
            name=NAMESAKE,
        )
