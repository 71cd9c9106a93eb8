"""Names of images are read as engines read them."""

from __future__ import annotations

import pytest

from rafiki.container.image_digests import is_pinned, loaded, pinned
from rafiki.utils.image_names import ImageName

DIGEST = f"sha256:{'0a' * 32}"


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "digest"),
    [
        ("model", None, "model", None, None),
        ("team/model:1.2", None, "team/model", "1.2", None),
        ("localhost/model", "localhost", "model", None, None),
        ("host:5000/team/model:1", "host:5000", "team/model", "1", None),
        ("registry.example.org/team/sub/model", "registry.example.org", "team/sub/model", None, None),
        ("127.0.0.1:1/rafiki:7.2", "127.0.0.1:1", "rafiki", "7.2", None),
        ("[::1]:5000/model", "[::1]:5000", "model", None, None),
        (f"team/my-model_2.x:V1@{DIGEST}", None, "team/my-model_2.x", "V1", DIGEST),
    ],
)
def test_a_name_has_its_parts(text: str, registry: str | None, path: str, tag: str | None, digest: str | None) -> None:
    name = ImageName(text)
    assert (name.registry, name.path, name.tag, name.digest) == (registry, path, tag, digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "Model",
        "a b",
        "a:b:c",
        "a/",
        "/a",
        "a//b",
        "http://a/b",
        "a:",
        "a@sha256:12",
        "a..b",
        "-a",
        "a-",
        "a\nb",
        "a\0",
    ],
)
def test_what_is_no_name_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"no name of an image.*registry\.example\.org/team/model:1\.2"):
        ImageName(text)


def test_a_service_runs_the_recorded_image_of_a_registry_and_the_name_of_a_loaded_one() -> None:
    assert pinned("host:5000/team/model:1", DIGEST) == f"host:5000/team/model@{DIGEST}"
    assert pinned("team/model:1", loaded(DIGEST)) == "team/model:1"
    assert pinned("team/model:1", None) == "team/model:1"
    assert is_pinned(DIGEST)
    assert not is_pinned(loaded(DIGEST))
