"""Arguments and options that several commands take, with what completes them in a shell."""

from __future__ import annotations

from typing import Annotated

import typer

from rafiki_cli.completion import completers

AppArgument = Annotated[str, typer.Argument(help="Name of the app.", autocompletion=completers.apps)]
ServedAppArgument = Annotated[str, typer.Argument(help="Name of the app.", autocompletion=completers.served_apps)]
AppFilterArgument = Annotated[str | None, typer.Argument(help="Those of one app only.", autocompletion=completers.apps)]
VersionOption = Annotated[
    int, typer.Option("--version", help="Version of the app; -1 = the latest.", autocompletion=completers.versions)
]
DeployedOption = Annotated[
    int | None,
    typer.Option(
        "--deployed", help="The version that answers now, where several are served, each at its own address.",
        autocompletion=completers.versions, show_default=False,
    ),
]  # fmt: skip
DatasetArgument = Annotated[
    str, typer.Argument(help="Id, name, or the beginning of the id.", autocompletion=completers.datasets)
]
ModelArgument = Annotated[
    str, typer.Argument(help="Id, name, or the beginning of the id.", autocompletion=completers.models)
]
TaskOption = Annotated[
    str,
    typer.Option(
        help="Such as IMAGE_CLASSIFICATION; any other name is a custom task.", autocompletion=completers.tasks
    ),
]
TaskFilterOption = Annotated[str | None, typer.Option(help="Those of one task only.", autocompletion=completers.tasks)]
WhoseOption = Annotated[
    str | None,
    typer.Option("--user", metavar="EMAIL", help="Whose, for admins.", autocompletion=completers.users),
]
EmailArgument = Annotated[str, typer.Argument(help="The user's email.", autocompletion=completers.users)]
ContextArgument = Annotated[
    str,
    typer.Argument(help="Its name; `local` is the stack of the folder you are in.", autocompletion=completers.contexts),
]
OptionalContextArgument = Annotated[
    str | None, typer.Argument(help="The one in force if left out.", autocompletion=completers.contexts)
]
