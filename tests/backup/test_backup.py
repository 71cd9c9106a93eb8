"""A backup brings back what was saved; one that is damaged, hostile or too new changes nothing."""

from __future__ import annotations

import fcntl
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support.stores.meta_store_records import Given

from rafiki.backup import restore as restoring
from rafiki.backup import write as writing
from rafiki.backup.archive import Archive
from rafiki.backup.restore import restore_backup
from rafiki.backup.write import write_backup
from rafiki.config import load_config
from rafiki.errors import BackupRefusedError, DamagedFileError, NewerDatabaseError, RafikiError
from rafiki.meta_store import open_meta_store
from rafiki.stack_folder import StackFolder
from rafiki.stack_identity import StackIdentity, write_identity
from rafiki.stores import open_data_store, open_param_store
from rafiki.version import __version__

CONTENTS = b"a dataset " * 1000


def folder_in(project: Path) -> StackFolder:
    project.mkdir(exist_ok=True)
    return StackFolder(load_config(start=project, environ={}))


class Saved:
    """A stack that is down, and what is in it."""

    def __init__(self, project: Path) -> None:
        self.folder = folder_in(project)
        self.folder.create()
        self.secrets = self.folder.secrets()
        self.folder.superadmin_password()
        write_identity(self.folder.root, StackIdentity(id="s1", root=str(self.folder.root), version=__version__))
        datasets, params = open_data_store(self.folder.datasets), open_param_store(self.folder.params)
        with open_meta_store(self.folder.meta_store_url) as store:
            store.migrate()
            given = Given(store)
            user = given.user("ada@rafiki")
            self.store_id = datasets.save([CONTENTS]).store_id
            given.dataset(user, name="kept", store_id=self.store_id)
            job = given.train_job(user, "app")
            [sub] = store.train_jobs.list_sub_train_jobs(job.id)
            sub = store.train_jobs.set_advisor(sub.id, "owner")
            self.params_ids = [params.save({"x": n}) for n in range(3)]
            params.put_validation(self.params_ids[0], b"beside")
            for no, params_id in enumerate(self.params_ids):
                given.completed_trial(sub, no, 0.5, params_id)

    def write(self, file: Path, *, has_stores: bool = True, is_replacing: bool = False):  # type: ignore[no-untyped-def]
        return write_backup(
            self.folder, file, has_stores=has_stores, is_replacing=is_replacing, progress=lambda _done, _total: None
        )


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    return Saved(tmp_path / "saved")


@pytest.fixture
def file(saved: Saved, tmp_path: Path) -> Path:
    saved.write(tmp_path / "b.tar")
    return tmp_path / "b.tar"


def restore(folder: StackFolder, file: Path, *, is_replacing: bool = False):  # type: ignore[no-untyped-def]
    return restore_backup(folder, file, is_replacing=is_replacing, progress=lambda _done, _total: None)


def nothing_in(folder: StackFolder) -> bool:
    return not folder.root.exists() or not [f for f in folder.root.rglob("*") if f.is_file() and f.name != "admin.lock"]


def test_a_restored_stack_is_the_one_that_was_saved(saved: Saved, file: Path, tmp_path: Path) -> None:
    made = folder_in(tmp_path / "new")
    report = restore(made, file)
    assert (report.n_live_train_jobs, report.n_live_inference_jobs) == (1, 0)
    assert report.backup.n_params == 3
    assert report.copy_of == str(saved.folder.root)
    assert made.secrets() == saved.secrets
    assert made.superadmin_password() == saved.folder.superadmin_password()
    assert (made.secrets_file.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o600, 0o600)
    with open_meta_store(made.meta_store_url) as store:
        user = store.users.find_user_by_email("ada@rafiki")
        assert user is not None
        [kept] = [d for d in store.datasets.list_datasets(user.id) if d.name == "kept"]
    assert open_data_store(made.datasets).get_path(kept.store_id).read_bytes() == CONTENTS
    params = open_param_store(made.params)
    assert [params.load(i)["x"] for i in saved.params_ids] == [0, 1, 2]
    assert params.find_validation_bytes(saved.params_ids[0], 100) == b"beside"


def test_nothing_is_left_beside_a_backup(file: Path, tmp_path: Path) -> None:
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar", "saved"]


def test_a_backup_without_stores_leaves_the_files_out(saved: Saved, tmp_path: Path) -> None:
    report = saved.write(tmp_path / "db.tar", has_stores=False)
    assert (report.n_datasets, report.n_params, report.tables["trials"]) == (0, 0, 3)
    made = folder_in(tmp_path / "new")
    restore(made, tmp_path / "db.tar")
    assert open_param_store(made.params).list_stored() == []


def test_files_that_are_freed_or_damaged_meanwhile_are_told(saved: Saved, tmp_path: Path) -> None:
    store = open_param_store(saved.folder.params)
    store.delete(saved.params_ids[1])
    (saved.folder.root / "params" / f"{saved.params_ids[2]}.safetensors").write_bytes(b"rotten")
    report = saved.write(tmp_path / "b.tar")
    told = {one.name: one.reason for one in report.left_out}
    assert "damaged" in told[f"params/{saved.params_ids[2]}"]
    assert "not in the store" in told[f"params/{saved.params_ids[1]}"]
    assert report.n_params == 1
    restore(folder_in(tmp_path / "new"), tmp_path / "b.tar")


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(saved: Saved, tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_bytes(b"mine")
    with pytest.raises(BackupRefusedError, match="--force"):
        saved.write(tmp_path / "b.tar")
    assert (tmp_path / "b.tar").read_bytes() == b"mine"
    saved.write(tmp_path / "b.tar", is_replacing=True)
    with Archive(tmp_path / "b.tar") as archive:
        assert archive.find_faults() == []


def test_a_full_disk_is_seen_before_anything_is_written(
    saved: Saved, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (writing, restoring):
        monkeypatch.setattr(module, "free_bytes", lambda _: 1000)
    with pytest.raises(BackupRefusedError, match="free"):
        saved.write(tmp_path / "c.tar")
    made = folder_in(tmp_path / "new")
    with pytest.raises(BackupRefusedError, match="free"):
        restore(made, file)
    assert nothing_in(made)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.tar", "new", "saved"]


def test_a_stack_is_replaced_only_when_that_is_said_and_never_while_it_runs(saved: Saved, file: Path) -> None:
    with open_meta_store(saved.folder.meta_store_url) as store:
        Given(store).user("later@rafiki")
    with pytest.raises(BackupRefusedError, match="--force"):
        restore(saved.folder, file)
    with (saved.folder.run / "admin.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BackupRefusedError, match="rafiki down"):
            restore(saved.folder, file, is_replacing=True)
    report = restore(saved.folder, file, is_replacing=True)
    assert report.former_database is not None
    with open_meta_store(saved.folder.meta_store_url) as store:
        assert store.users.find_user_by_email("later@rafiki") is None
        assert store.users.find_user_by_email("ada@rafiki") is not None
    # What the stores had is not stored a second time.
    assert len(open_data_store(saved.folder.datasets).list_stored()) == 1


def test_a_damaged_database_gives_way_to_a_backup(saved: Saved, file: Path) -> None:
    (saved.folder.root / "meta.db").write_bytes(b"garbage" * 1000)
    restore(saved.folder, file, is_replacing=True)
    with open_meta_store(saved.folder.meta_store_url) as store:
        assert store.users.find_user_by_email("ada@rafiki") is not None


@pytest.mark.parametrize("part", [0.0, 0.001, 0.1, 0.5, 0.9, 0.97])
def test_a_backup_that_was_cut_short_is_refused(file: Path, tmp_path: Path, part: float) -> None:
    raw = file.read_bytes()
    file.write_bytes(raw[: int(len(raw) * part)])
    made = folder_in(tmp_path / "new")
    with pytest.raises(DamagedFileError):
        restore(made, file)
    assert nothing_in(made)


def test_a_changed_byte_anywhere_never_restores_something_else(file: Path, tmp_path: Path) -> None:
    raw = file.read_bytes()
    for at in range(0, len(raw), len(raw) // 60):
        changed = bytearray(raw)
        changed[at] ^= 0x55
        file.write_bytes(bytes(changed))
        try:
            with Archive(file) as archive:
                faults = archive.find_faults()
                if faults:
                    continue
                names = [f.name for f in archive.manifest.files]
                contents = {name: read(archive, name) for name in names}
        except DamagedFileError:
            continue
        # What tar itself does not heed, such as the padding of a member, may change.
        assert contents == members(raw), f"byte {at}"


def read(archive: Archive, name: str) -> bytes:
    with archive.open(name) as file:
        return file.read()


def members(raw: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar if m.name != "manifest.json"}  # type: ignore[union-attr]


def rewritten(
    file: Path, change: Callable[[dict[str, bytes]], None], more: list[tarfile.TarInfo] | None = None
) -> None:
    """The backup with other members; ``more`` are added as they are."""
    with tarfile.open(file) as tar:
        held = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    change(held)
    with tarfile.open(file, "w") as tar:
        for name, data in held.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for member in more or []:
            tar.addfile(member, io.BytesIO(b"x" * member.size))


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../outside"),
        tarfile.TarInfo("/tmp/outside"),
        tarfile.TarInfo("tables/../../outside.jsonl"),
        tarfile.TarInfo("stack/rafiki.yaml"),
        tarfile.TarInfo("params/../secrets.json"),
        tarfile.TarInfo("datasets/.."),
        tarfile.TarInfo("tables/users.jsonl"),  # the second of this name
        link("stack/secrets.json", tarfile.SYMTYPE),
        link("datasets/x", tarfile.LNKTYPE),
        link("device", tarfile.CHRTYPE),
        link("pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda m: m.name,
)  # fmt: skip
def test_a_hostile_member_is_refused_before_anything_is_written(
    file: Path, tmp_path: Path, member: tarfile.TarInfo
) -> None:
    rewritten(file, lambda _: None, [member])
    made = folder_in(tmp_path / "new")
    with pytest.raises(DamagedFileError):
        restore(made, file)
    assert nothing_in(made)
    assert not (tmp_path / "outside").exists()


def change_manifest(change: Callable[[dict], None]) -> Callable[[dict[str, bytes]], None]:  # type: ignore[type-arg]
    def changed(held: dict[str, bytes]) -> None:
        manifest = json.loads(held["manifest.json"])
        change(manifest)
        held["manifest.json"] = json.dumps(manifest).encode()

    return changed


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda m: m["database"].update(revision="9999"), NewerDatabaseError),
        (lambda m: m.update(format=99), BackupRefusedError),
        (lambda m: m.update(format=99, files="another form"), BackupRefusedError),
        (lambda m: m.pop("files"), DamagedFileError),
        (lambda m: m["files"].pop(), DamagedFileError),
        (lambda m: m["files"].append({"name": "../x", "size_bytes": 1, "sha256": "a"}), DamagedFileError),
        (lambda m: m["files"][1].update(size_bytes=-5), DamagedFileError),
        (lambda m: m["database"]["tables"].pop(), DamagedFileError),
        (lambda m: m["database"]["tables"][0].update(name="../../x"), DamagedFileError),
        (lambda m: m["database"]["tables"][1].update(n_rows=77), DamagedFileError),
        (lambda m: m["database"]["tables"][1].update(columns=["id"] * 7), DamagedFileError),
    ],
)
def test_a_manifest_that_lies_or_is_too_new_changes_nothing(
    file: Path,
    tmp_path: Path,
    change: Callable[[dict], None],
    error: type[RafikiError],  # type: ignore[type-arg]
) -> None:
    rewritten(file, change_manifest(change))
    made = folder_in(tmp_path / "new")
    with pytest.raises(error):
        restore(made, file)
    assert nothing_in(made)


@pytest.mark.parametrize("contents", [b"", b"garbage" * 999, b"\x1f\x8b" + b"x" * 600])
def test_what_is_no_backup_is_called_that(tmp_path: Path, contents: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(contents)
    with pytest.raises(DamagedFileError, match="no backup of Rafiki"):
        Archive(tmp_path / "x.tar")
