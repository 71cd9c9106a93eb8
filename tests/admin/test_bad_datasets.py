"""Uploads that are harmful, though their contents are good. Wrong contents are in `tests/wrong_inputs`."""

from __future__ import annotations

from support.http.raw_http import unique
from support.stacks.admin_people import Hostile


def test_a_path_in_the_file_name_of_an_upload_leads_nowhere(hostile: Hostile) -> None:
    files = {"dataset": ("../../../../tmp/evil\\..\\evil.bin", b"x")}
    made = hostile.me.ok("POST", "/datasets", data={"name": unique("data"), "task": "CUSTOM"}, files=files)
    [stored] = (hostile.stack.root / "datasets").glob(f"*.{made['sha256']}")
    assert stored.read_bytes() == b"x"
