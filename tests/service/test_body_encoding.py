"""Bodies as they travel: gzip, byte order marks, and what is neither."""

from __future__ import annotations

import gzip

import pytest

from rafiki.contract.body_encoding import decode_body
from rafiki.errors import InvalidRequestError, RequestTooLargeError, UnsupportedEncodingError


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_gzip_is_unpacked(encoding: str) -> None:
    assert decode_body(gzip.compress(b"[1, 2]"), encoding, 100) == b"[1, 2]"


@pytest.mark.parametrize("encoding", ["", "identity"])
def test_a_byte_order_mark_is_no_part_of_the_text(encoding: str) -> None:
    assert decode_body(b"\xef\xbb\xbf{}", encoding, 100) == b"{}"
    assert decode_body(b"{}", encoding, 100) == b"{}"


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    with pytest.raises(RequestTooLargeError, match="larger than 1,000 bytes"):
        decode_body(gzip.compress(b"0" * (64 << 20)), "gzip", 1000)


@pytest.mark.parametrize("body", [b"", b"no gzip", gzip.compress(b"[1, 2]")[:-6]], ids=["nothing", "text", "cut"])
def test_what_is_no_whole_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="gzip"):
        decode_body(body, "gzip", 100)


def test_another_encoding_is_named_with_what_to_do() -> None:
    with pytest.raises(UnsupportedEncodingError, match=r"'br'.*content-encoding: gzip"):
        decode_body(b"x", "br", 100)
