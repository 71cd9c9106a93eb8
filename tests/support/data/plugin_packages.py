"""Packages that add names to Rafiki, as an installer leaves them: modules, and their entry points beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

DOCS = Path(__file__).parents[3] / "docs"


def install_plugin(folder: Path, package: str, modules: Mapping[str, str], points: Mapping[str, list[str]]) -> None:
    """Lay a package into a folder of ``PYTHONPATH``.

    Args:
        modules: name -> source, of the modules in the package.
        points: group -> lines such as ``hill = rafiki_hills.hill:SCHEME``.
    """
    home = folder / package.replace("-", "_")
    home.mkdir(parents=True)
    for name, source in {"__init__": "", **modules}.items():
        (home / f"{name}.py").write_text(source)
    info = folder / f"{home.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    sections = ["\n".join([f"[{group}]", *lines]) for group, lines in points.items()]
    (info / "entry_points.txt").write_text("\n\n".join(sections) + "\n")


def modules_of(page: str) -> dict[str, str]:
    """The Python files that a page shows, by the first word of their docstrings in lower case."""
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"))
    return {m[1].lower(): block for block in blocks if (m := re.match(r'"""(\w+)', block))}


def install_hills(folder: Path) -> None:
    """The package of docs/howto/plug-in-packages.md, made of the files that the guides show."""
    searches, tasks = modules_of("howto/add-a-search-scheme.md"), modules_of("howto/add-a-task.md")
    modules = {"hill": searches["hill"], "floor": searches["floor"], "series_forecast": tasks["series_forecast"]}
    text = (DOCS / "howto" / "plug-in-packages.md").read_text("utf-8")
    points = {
        group: [line.replace('"', "")]
        for group, line in re.findall(r'(?m)^\[project\.entry-points\."([\w.]+)"\]\n(.*)$', text)
    }
    install_plugin(folder, "rafiki-hills", modules, points)


VAULT = '''
"""A store whose datasets have to be fetched, and a back end that writes down what it starts."""
import shutil
import tempfile
from pathlib import Path

from rafiki.container.base import ContainerBackend
from rafiki.container.process import ProcessContainerManager
from rafiki.data_store.folder import FolderDataStore
from rafiki.param_store.folder import FolderParamStore
from rafiki.stores import StoreKind


def home(location):
    return Path(location.url.partition("://")[2])


class VaultParamStore(FolderParamStore):
    def __init__(self, location):
        super().__init__(home(location))
        self._location = location

    @property
    def location(self):
        return self._location


class VaultDataStore(FolderDataStore):
    def __init__(self, location, max_bytes):
        super().__init__(home(location), max_bytes)
        self._location = location
        self._copies = tempfile.TemporaryDirectory(prefix="fetched-")

    @property
    def location(self):
        return self._location

    def get_path(self, store_id):
        copy = Path(self._copies.name) / store_id
        if not copy.exists():
            shutil.copy(super().get_path(store_id), copy)
        return copy

    def close(self):
        self._copies.cleanup()


class PodContainerManager(ProcessContainerManager):
    def __init__(self, setup):
        super().__init__(setup)
        self._pods = setup.run_folder / "pods.txt"

    def start(self, request):
        with self._pods.open("a") as file:
            file.write(request.kind + "\\n")
        return super().start(request)


STORE = StoreKind(about="a vault", open_data_store=VaultDataStore, open_param_store=VaultParamStore)
BACK_END = ContainerBackend(about="pods", open=PodContainerManager)
'''


def install_vault(folder: Path) -> None:
    """A package that brings a kind of store and a container back end."""
    points = {
        "rafiki.stores": ["vault = rafiki_vault.all:STORE"],
        "rafiki.containers": ["pod = rafiki_vault.all:BACK_END"],
    }
    install_plugin(folder, "rafiki-vault", {"all": VAULT}, points)


ELSEWHERE = '''
"""A back end whose workers know nothing of this machine but its network, as those on other hosts do."""
from rafiki.container.base import ContainerBackend
from rafiki.container.process import ProcessContainerManager
from rafiki.utils.files import write_private
from rafiki.utils.spec import TOKEN_FILE_VARIABLE
from rafiki.utils.process import COPIES_FOLDER_VARIABLE


class ElsewhereContainerManager(ProcessContainerManager):
    def __init__(self, setup):
        super().__init__(setup)
        self._door = setup.door
        # Beside the stack's folder: the disk of another host.
        self._host = setup.stack_root.parent / "other-host"
        self._host.mkdir(exist_ok=True)

    def is_elsewhere(self, kind):
        return kind in ("train", "inference")

    def _leave_spec(self, request, address):
        if not self.is_elsewhere(request.kind):
            return super()._leave_spec(request, address)
        token = self._door.admit(request.service_id, request.make_spec(address))
        write_private(self._host / request.service_id, token)
        return self._door.spec_url

    def _environment(self, request, address):
        host = {
            TOKEN_FILE_VARIABLE: str(self._host / request.service_id),
            COPIES_FOLDER_VARIABLE: str(self._host / "copies"),
        }
        return {**super()._environment(request, address), **(host if self.is_elsewhere(request.kind) else {})}


BACK_END = ContainerBackend(about="processes that see no file of the stack", open=ElsewhereContainerManager)
'''


def install_elsewhere(folder: Path) -> None:
    """A package with a back end whose workers use the stores through the admin."""
    points = {"rafiki.containers": ["elsewhere = rafiki_elsewhere.all:BACK_END"]}
    install_plugin(folder, "rafiki-elsewhere", {"all": ELSEWHERE}, points)
