"""``rafiki image ...``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from rafiki.distribution import IMAGE, LOCAL_REGISTRY
from rafiki_cli import terminal
from rafiki_cli.application import Application
from rafiki_cli.lazy import examples, new_app
from rafiki_cli.render import values

app = new_app("The container image that workers run in, where container.backend is swarm.")
_MORE = "extras of Rafiki whose packages go into it, with commas; '' = none"
EngineOption = Annotated[
    str | None,
    typer.Option(metavar="URL", help="The Docker engine to use. [default: container.engine, then DOCKER_HOST]"),
]
ImageOption = Annotated[
    str | None, typer.Option("--name", metavar="IMAGE", help=f"Its name. [default: container.image, then {IMAGE}]")
]


@app.command(
    epilog=examples(
        "rafiki image build",
        "rafiki image build --name registry.example.org/rafiki:1",
        "rafiki image build --all --name registry.example.org/rafiki-all:1",
    )
)
def build(
    cli: Application,
    name: ImageOption = None,
    all_programs: Annotated[
        bool, typer.Option("--all", help="All programs: the admin, predictors and commands, too, not workers alone.")
    ] = False,
    extras: Annotated[str, typer.Option(metavar="NAMES", help=f"The {_MORE}.")] = "templates",
    engine: EngineOption = None,
) -> None:
    """Build the image of workers from this installation, or that of all its programs.

    It holds what is installed here, in the same versions, on the image `python:3.11-slim` (of the Python that runs this
    command). No package index is asked. Whoever builds twice the same gets the same layers.
    """
    from rafiki_cli.images.build_context import lay_out, pack
    from rafiki_cli.images.engine import ImageEngine
    from rafiki_cli.images.parts import ADMIN, WORKERS

    image = _image(cli, name)
    docker = ImageEngine(_engine(cli, engine))
    wanted = frozenset(filter(None, (e.strip() for e in extras.split(","))))
    with tempfile.TemporaryDirectory(prefix="rafiki-image-") as scratch:
        folder = Path(scratch) / "context"
        folder.mkdir()
        terminal.say("Gathering this installation's files ...")
        packages = lay_out(folder, wanted, has_admin=all_programs)
        packed = Path(scratch) / "context.tar"
        pack(folder, packed)
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        _say_all(docker.build(packed, image, python, packages, ADMIN if all_programs else WORKERS))
    terminal.say(f"Built {image} ({values.size(docker.size_bytes(image))}).")
    if image.startswith(LOCAL_REGISTRY):
        terminal.hint("`rafiki image spread ENGINE ...` brings it to other nodes.")
    else:
        terminal.hint("`rafiki image push` brings it to its registry.")


@app.command(epilog=examples("rafiki image push --name registry.example.org/rafiki:1"))
def push(cli: Application, name: ImageOption = None, engine: EngineOption = None) -> None:
    """Push the image to the registry that its name begins with, with the login that `docker login` left."""
    from rafiki_cli.images.engine import ImageEngine

    image = _image(cli, name)
    if image.startswith(LOCAL_REGISTRY):
        raise terminal.UsageError(
            f"{image} names no registry. Build it with the registry's name: --name registry.example.org/rafiki:1"
        )
    _say_all(ImageEngine(_engine(cli, engine)).push(image))
    terminal.say(f"Pushed {image}.")


@app.command(epilog=examples("rafiki image spread ssh://root@node2 ssh://root@node3"))
def spread(
    cli: Application,
    engines: Annotated[
        list[str], typer.Argument(metavar="ENGINE...", help="Where the Docker engines of the nodes answer.")
    ],
    name: ImageOption = None,
    engine: EngineOption = None,
) -> None:
    """Copy the image to other nodes, for a Swarm without a registry. A node that has it already is left as it is."""
    from rafiki_cli.images.engine import ImageEngine

    image = _image(cli, name)
    source = ImageEngine(_engine(cli, engine))
    size, its_id = values.size(source.size_bytes(image)), source.has(image)
    for url in engines:
        other = ImageEngine(url)
        if other.has(image) == its_id:
            terminal.say(f"{url} has it.")
            continue
        terminal.say(f"Copying {size} to {url} ...")
        source.copy_to(other, image)
        terminal.say(f"{url} has it now.")


def _image(cli: Application, name: str | None) -> str:
    return name or cli.loaded_config().config.container.image or IMAGE


def _engine(cli: Application, url: str | None) -> str | None:
    return url or cli.loaded_config().config.container.engine


def _say_all(lines: Iterator[str]) -> None:
    for line in lines:
        terminal.say(line)
