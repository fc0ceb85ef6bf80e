"""Spoilt files whose inside is sound enough to be read on: GeoTIFF directories, GeoParquet tables, safetensors headers."""

import io
import random
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from tests.fuzz.mutate import mutate_bytes, mutate_json, some_of

_ENTRY: Final = struct.Struct("<HHI4s")
_NUMBERS: Final = (0, 1, 2, 3, 8, 16, 255, 256, 32767, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
_TAGS: Final = (
    256,
    257,
    258,
    259,
    262,
    273,
    277,
    278,
    279,
    284,
    317,
    322,
    323,
    324,
    325,
    339,
    33550,
    33922,
    34264,
    34735,
)
_TIFF_TYPES: Final = (*range(14), 16, 17, 18, 255)
_DOUBLES: Final = (0.0, -1.0, 1e-300, 1e300, float("inf"), float("-inf"), float("nan"), 10.0, 1e9)


def mutate_tiff(rng: random.Random, content: bytes) -> bytes:
    """Spoil some entries of the first directory of a little-endian TIFF: tag, type, count, or value."""
    spoilt = bytearray(content)
    if spoilt[:4] != b"II*\0":
        return mutate_bytes(rng, content)
    (start,) = struct.unpack_from("<I", spoilt, 4)
    (count,) = struct.unpack_from("<H", spoilt, start)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = start + 2 + _ENTRY.size * rng.randrange(count)
        tag, kind, number, value = _ENTRY.unpack_from(spoilt, at)
        what = rng.randrange(8)
        if what == 0:
            tag = rng.choice(_TAGS)
        elif what == 1:
            kind = rng.choice(_TIFF_TYPES)
        elif what == 2:
            number = rng.choice(_NUMBERS)
        elif what < 6:
            value = struct.pack("<I", rng.choice(_NUMBERS))
        else:
            _spoil_values(rng, spoilt, kind, number, value)
        _ENTRY.pack_into(spoilt, at, tag, kind, number, value)
    return bytes(spoilt)


def _spoil_values(rng: random.Random, spoilt: bytearray, kind: int, number: int, value: bytes) -> None:
    """Spoil one of the values of an entry that lie elsewhere in the file."""
    (offset,) = struct.unpack("<I", value)
    size = {3: 2, 4: 4, 12: 8, 2: 1}.get(kind, 1)
    at = offset + size * rng.randrange(max(number, 1))
    if at + 8 > len(spoilt):
        return
    if kind == 12:
        struct.pack_into("<d", spoilt, at, rng.choice(_DOUBLES))
    elif kind in (3, 4):
        struct.pack_into("<H", spoilt, at, rng.choice(_NUMBERS) & 0xFFFF)
    else:
        spoilt[at] = rng.randrange(256)


def mutate_safetensors(rng: random.Random, content: bytes) -> bytes:
    """Spoil the JSON header of a safetensors file, or the stated length of it."""
    (length,) = struct.unpack_from("<Q", content)
    header = mutate_json(rng, content[8 : 8 + length])
    stated = rng.choice((0, 1, len(header) - 1, 1 << 40, (1 << 64) - 1)) if rng.random() < 0.05 else len(header)
    return struct.pack("<Q", max(stated, 0)) + header + content[8 + length :]


@cache
def _table(content: bytes) -> Any:
    return pyarrow.parquet.read_table(io.BytesIO(content))


_COLUMNS: Final[tuple[Callable[[int], Any], ...]] = (
    pa.nulls,
    lambda rows: pa.array([None, *["x"] * (rows - 1)][:rows]),
    lambda rows: pa.array(["\x00../../etc"] * rows),
    lambda rows: pa.array(["x" * 5000] * rows),
    lambda rows: pa.array([""] * rows),
    lambda rows: pa.array(list(range(rows))),
    lambda rows: pa.array([-1] * rows),
    lambda rows: pa.array([2**62] * rows),
    lambda rows: pa.array([float("nan")] * rows),
    lambda rows: pa.array([float("inf")] * rows),
    lambda rows: pa.array([0.5, None] * rows)[:rows],
    lambda rows: pa.array([True] * rows),
    lambda rows: pa.array([b"\xff\xfe"] * rows),
    lambda rows: pa.array([b""] * rows),
    lambda rows: pa.array([["a", None]] * rows),
    lambda rows: pa.array([[1, 2]] * rows),
    lambda rows: pa.array([[]] * rows, pa.list_(pa.string())),
    lambda rows: pa.array([None, *[["VV"]] * (rows - 1)][:rows], pa.list_(pa.string())),
    lambda rows: pa.array([[["a"]]] * rows),
    lambda rows: pa.array([{"a": 1}] * rows),
    lambda rows: pa.array([0] * rows, pa.timestamp("us")),
    lambda rows: pa.array([2**62] * rows, pa.timestamp("us", "UTC")),
    lambda rows: pa.array([-(2**62)] * rows, pa.timestamp("ns", "UTC")),
    lambda rows: pa.array([None] * rows, pa.timestamp("us", "UTC")),
    lambda rows: pa.array([0] * rows, pa.timestamp("s", "Mars/Phobos")),
    lambda rows: pa.array([0] * rows, pa.date32()),
    lambda rows: pa.array([0] * rows, pa.duration("us")),
    lambda rows: pa.array(["x"] * rows).dictionary_encode(),
)
"""Columns of another type, or with values of the right one that cannot be meant."""


def mutate_parquet(rng: random.Random, content: bytes) -> bytes:
    """Spoil a GeoParquet table: columns of another type, gone or twice, rows gone or twice, what is said of the geometry."""
    table = _table(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        number = rng.randrange(table.num_columns)
        name, what = table.column_names[number], rng.randrange(10)
        if what < 5:
            table = table.set_column(number, name, rng.choice(_COLUMNS)(table.num_rows))
        elif what == 5:
            table = table.remove_column(number)
        elif what == 6:
            table = table.append_column(rng.choice((name, "more")), rng.choice(_COLUMNS)(table.num_rows))
        elif what == 7:
            other = rng.randrange(table.num_columns)
            table = table.set_column(number, name, table.column(other))
        elif what == 8:
            table = rng.choice((table.slice(0, 0), table.slice(0, 1), pa.concat_tables([table, table])))
        else:
            about = dict(table.schema.metadata or {})
            key = rng.choice([*about, b"geo"])
            changed = {key: mutate_json(rng, about[key])} if key in about and rng.random() < 0.8 else {}
            table = table.replace_schema_metadata({k: v for k, v in about.items() if k != key} | changed)
        if table.num_columns == 0:
            break
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd", write_statistics=False, use_dictionary=False)
    return buffer.getvalue()


def _mutate_csv(rng: random.Random, content: bytes) -> bytes:
    lines = [line.split(b",") for line in content.split(b"\n")]
    for _ in range(rng.choice((1, 2, 4))):
        line = rng.choice(lines)
        nasty = (b"", b"-1", b"9" * 5000, b"NaN", b"1e999", b'"\n', b'"', b"\x00", b"\xff", "²".encode(), b"a,b")
        line[rng.randrange(len(line))] = rng.choice((*nasty, b"x" * 200_000, "٣".encode(), b"\r", b"1_0"))
    return b"\n".join(b",".join(line) for line in lines)


TIFF: Final = some_of((3, mutate_tiff), (1, mutate_bytes))
SAFETENSORS: Final = some_of((3, mutate_safetensors), (1, mutate_bytes))
PARQUET: Final = some_of((3, mutate_parquet), (1, mutate_bytes))
CSV: Final = some_of((1, _mutate_csv), (1, mutate_bytes))
