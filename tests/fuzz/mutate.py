"""Spoilt inputs, drawn from a seed: JSON spoilt as a tree, anything spoilt as bytes."""

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

Mutator = Callable[[random.Random, bytes], bytes]
"""Takes a sound file's content and returns a spoilt one; the same random numbers give the same."""

RAW: Final = (
    *("null", "true", "false", "-1", "0", "1", "-0.0", "2", "0.5", "176", "1e308", "-1e308", "1e999", "1e-320"),
    *("NaN", "Infinity", "-Infinity", "9" * 400, "-" + "9" * 400, "9" * 5000, str(2**31), str(2**63), str(2**64)),
    *("[]", "{}", "[[]]", "[null]", "{}", '{"":null}', "[1,2,3]", '["a"]', '[{"a":[]}]'),
    *("[" * depth + "]" * depth for depth in (10, 60, 100, 900, 50_000)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (10, 100, 900)),
    *('""', '" "', '"x"', '"' + "x" * 300 + '"', '"' + "x" * 100_000 + '"', '"NaN"', '"1e999"', '"-1"', '"null"'),
    *(r'"\ud800"', r'"a\udfff"', r'"\u0000"', r'"a\u0000b"', r'"\u001b[31m"', r'"\n\t"', r'"\u202e"', '"é"', '"%s{0}"'),
    *('"../../x"', '"/dev/zero"', '"http://[::1"', '"s3://"', '"file:///etc/passwd"', '"' + "../" * 2000 + '"'),
    *('"0001-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"', '"2019-06-07"'),
    *('"0001-01-01"', '"9999-12-31"', '"2019-02-30"', '"24:00"', '"2019-W01"', '"2019-06-07T00:00:00+99:00"'),
    *('"EPSG:4326"', '"EPSG:0"', '"EPSG:999999999999"', '"+proj=utm"', '"GEOGCS["', '"Point"', '"GeometryCollection"'),
)
"""Values of JSON that code seldom thinks of."""
_MARK: Final = re.compile(r'"@@(\d+)@@"')
_TEXTS: Final = ("", "{", "[]", "null", "0", '"x"', "\ufeff{}", "{}{}", "[" * 100_000, '{"a":' * 100_000, "NaN", "\x00")
_MOST_CHANGES: Final = 4


class _Twin(str):
    """A key that may stand in a dict twice."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


Place = tuple[Any, Any]
"""A dict or list, and a key or number in it."""


def mutate_json(rng: random.Random, content: bytes) -> bytes:
    """Spoil a JSON text in one to four places: other values, keys gone or twice, types and values exchanged."""
    if rng.random() < 0.01:
        return rng.choice(_TEXTS).encode("utf-8", "surrogatepass")
    whole = [json.loads(content)]
    for _ in range(rng.choice((1, 1, 1, 2, 3, _MOST_CHANGES))):
        _change(rng, whole)
    text = json.dumps(whole[0])
    return _MARK.sub(lambda mark: RAW[int(mark.group(1)) % len(RAW)], text).encode()


def _change(rng: random.Random, whole: list[Any]) -> None:
    places = _places(whole)
    holder, key = rng.choice(places)
    what = rng.randrange(10)
    if what < 5 or holder is whole:
        holder[key] = f"@@{rng.randrange(len(RAW))}@@"
    elif what == 5:
        del holder[key]
    elif what == 6:
        if isinstance(holder, dict):
            holder[_Twin(key)] = f"@@{rng.randrange(len(RAW))}@@"
        else:
            holder.insert(key, holder[key])
    elif what == 7:
        other, there = rng.choice(places)
        holder[key] = _copied(other[there])
    elif what == 8:
        holder[key] = _retyped(rng, holder[key])
    else:
        holder[key] = _nudged(rng, holder[key])


def _places(whole: list[Any]) -> list[Place]:
    places: list[Place] = []
    waiting: list[Any] = [whole]
    while waiting:
        holder = waiting.pop()
        keys = range(len(holder)) if isinstance(holder, list) else list(holder)
        for key in keys:
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return places


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _retyped(rng: random.Random, value: Any) -> Any:
    if isinstance(value, dict):
        return rng.choice((list(value.values()), list(value), [value], json.dumps(value)))
    if isinstance(value, list):
        return rng.choice(
            ({str(i): one for i, one in enumerate(value)}, value[:1], value * 3, value[::-1], [value], "a")
        )
    if isinstance(value, str):
        return rng.choice(([value], {value: value}, {"value": value}, len(value), value.encode().hex()))
    return rng.choice(([value], {"value": value}, str(value), not value))


def _nudged(rng: random.Random, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return rng.choice(
            (value + 1, value - 1, -value, value * 1e6, value / 7, value * 0, value + 0.5, int(value) << 40)
        )
    if isinstance(value, str) and value:
        place = rng.randrange(len(value))
        return value[:place] + rng.choice(("", "0", "9", "x", " ", "/", "\x00", "é", "-")) + value[place + 1 :]
    return rng.choice(([], {}, "", 0))


def mutate_bytes(rng: random.Random, content: bytes) -> bytes:
    """Spoil bytes: some flipped, cut off, put in, taken from elsewhere, set to the ends of what a number can be."""
    spoilt = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        if not spoilt:
            break
        at, length = rng.randrange(len(spoilt)), rng.choice((1, 1, 2, 4, 8, 64))
        what = rng.randrange(6)
        if what == 0:
            spoilt[at] ^= 1 << rng.randrange(8)
        elif what == 1:
            spoilt[at : at + length] = rng.randbytes(length)
        elif what == 2:
            spoilt[at:at] = rng.randbytes(length)
        elif what == 3:
            source = rng.randrange(len(spoilt))
            spoilt[at : at + length] = spoilt[source : source + length]
        elif what == 4:
            number = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
            spoilt[at : at + length] = bytes([number]) * length
        elif rng.random() < 0.3:
            del spoilt[at:]
        else:
            del spoilt[at : at + length]
    return bytes(spoilt)


def some_of(*choices: tuple[float, Mutator]) -> Mutator:
    """Return a mutator that takes one of others, by weight."""
    weights: Sequence[float] = [weight for weight, _ in choices]
    mutators = [mutator for _, mutator in choices]

    def mutate(rng: random.Random, content: bytes) -> bytes:
        return rng.choices(mutators, weights)[0](rng, content)

    return mutate


JSON: Final = some_of((9, mutate_json), (1, mutate_bytes))
"""For files of JSON."""
