from __future__ import annotations

import pytest

from rafiki.utils.urls import mask_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a:b@host:8000/x.csv?key=1", "https://host:8000/x.csv?..."),
        ("http://host/x.csv", "http://host/x.csv"),
        ("https://a@b:c@host/x#part", "https://host/x"),
        ("http://[half", "an address that cannot be read"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert mask_url(url) == shown
