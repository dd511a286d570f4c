"""Reading with a limit."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from hippomem.errors import SourceError
from hippomem.ingest.streams import in_units, open_capped


def test_up_to_the_limit_and_not_beyond(tmp_path: Path) -> None:
    data = b"0123456789" * 20_000
    for path in (tmp_path / "plain", tmp_path / "packed.GZ"):
        path.write_bytes(gzip.compress(data) if path.suffix else data)
        with open_capped(path, len(data)) as stream:
            assert stream.read() == data
        with (
            open_capped(path, len(data) - 1, setting="SETTING") as stream,
            pytest.raises(SourceError, match=r"more than the limit of 195\.3 KiB: raise SETTING"),
        ):
            stream.read()


def test_the_limit_holds_for_piecewise_reading(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(10_000_000)))
    blocks: list[bytes] = []
    with open_capped(path, 100_000) as stream, pytest.raises(SourceError, match="limit"):
        blocks.extend(iter(lambda: stream.read(1000), b""))
    assert 0 < len(blocks) <= 100


def test_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"text"))
    stream = open_capped(path, 10)
    inner = stream.raw._inner  # type: ignore[attr-defined]
    stream.close()
    assert inner.closed


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        open_capped(tmp_path, 10)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (20 * 2**20, "20 MiB"), (2**51, "2048 TiB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert in_units(size) == text
