"""The section ``tracing`` of rafiki.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from rafiki import tracing_setting
from rafiki.config import load_config
from rafiki.errors import ConfigError
from rafiki.messages import TracingSpec
from rafiki.tracing_setting import read_headers, read_tracing


def read(folder: Path, text: str) -> TracingSpec | None:
    (folder / "rafiki.yaml").write_text(f"tracing:\n  {text}\n")
    return read_tracing(load_config(folder / "rafiki.yaml", environ={}))


def test_nothing_is_traced_by_default_and_an_address_gets_the_path_of_the_protocol(tmp_path: Path) -> None:
    assert read(tmp_path, "ratio: 0.5") is None
    assert read(tmp_path, "endpoint: http://10.0.0.2:4318/") == TracingSpec(
        endpoint="http://10.0.0.2:4318/v1/traces", ratio=1.0
    )
    named = read(tmp_path, "endpoint: https://example.org/otlp/v1/traces\n  ratio: 0")
    assert named == TracingSpec(endpoint="https://example.org/otlp/v1/traces", ratio=0.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("endpoint: localhost:4318", "no address"),
        ("endpoint: grpc://localhost:4317", "no address"),
        ("endpoint: http://localhost:4318\n  headers_file: missing", "cannot be read"),
        ("endpoint: http://localhost:4318\n  headers_file: bad", "line 2 is no header"),
        ("endpoint: http://example.org:4318\n  headers_file: good", "https"),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "good").write_text("api-key: secret\n")
    (tmp_path / "bad").write_text("api-key: secret\nsecret\n")
    with pytest.raises(ConfigError, match=reason) as refused:
        read(tmp_path, text)
    assert "rafiki.yaml, line " in refused.value.message
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("ratio", ["-0.1", "1.5"])
def test_a_ratio_is_a_share(tmp_path: Path, ratio: str) -> None:
    with pytest.raises(ConfigError, match="from 0 to 1"):
        read(tmp_path, f"ratio: {ratio}")


def test_without_its_packages_a_setting_that_asks_for_traces_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing_setting, "_MODULES", ("opentelemetry_that_is_not_here.sdk",))
    with pytest.raises(ConfigError, match=r"pip install 'rafiki-ml\[otel\]'"):
        read(tmp_path, "endpoint: http://127.0.0.1:4318")


def test_headers_are_read_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("Api-Key:  one two \n\nx-team: lab\n")
    assert read_headers(tmp_path / "headers") == {"api-key": "one two", "x-team": "lab"}
