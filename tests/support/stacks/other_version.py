"""A copy of the packages that says that it is of another version, as an upgrade leaves it: real files, real imports."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

REPO = Path(__file__).resolve().parents[3]
MIGRATION = '''"""A table of a later version."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "9001", "{head}"
branch_labels = depends_on = None


def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade() -> None:
    op.drop_table("later")
'''


def copy_packages(folder: Path, version: str, *, adds_migration: bool = False) -> Path:
    """The packages at another version, below a folder for PYTHONPATH, which is returned.

    Args:
        folder: is made.
        version: of the copy.
        adds_migration: the copy has a migration more than this version.
    """
    for package in ("rafiki", "rafiki_cli"):
        shutil.copytree(REPO / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    holders = [f for f in (folder / "rafiki" / n for n in ("version.py", "__init__.py")) if f.is_file()]
    changed = [f for f in holders if _replace(f, r'^__version__ = "[^"]*"', f'__version__ = "{version}"')]
    assert len(changed) == 1
    if adds_migration:
        migrate = folder / "rafiki" / "meta_store" / "sql" / "migrate.py"
        [head] = re.findall(r'^HEAD = "(\d+)"', migrate.read_text(), re.MULTILINE)
        assert _replace(migrate, r'^HEAD = "\d+"', 'HEAD = "9001"')
        versions = folder / "rafiki" / "meta_store" / "migrations" / "versions"
        (versions / "9001_later.py").write_text(MIGRATION.format(head=head))
    return folder


def _replace(file: Path, pattern: str, text: str) -> int:
    new, count = re.subn(pattern, text, file.read_text(), flags=re.MULTILINE)
    file.write_text(new)
    return count
