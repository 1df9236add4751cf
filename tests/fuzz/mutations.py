"""Inputs made from seeds without looking at the code: always the same ones, for `make test`."""

import random
from collections.abc import Iterator, Sequence
from typing import Final

_PIECES: Final = (
    *(b"", b"\0", b"\n", b"\r\n", b"\xff\xfe", b"\xef\xbb\xbf", b'"', b"\\", b"'", b"`", b"{", b"}", b"[", b"]", b"("),
    *(b",", b":", b"-1", b"0", b"1e999", b"NaN", b"+Inf", b"9" * 400, b"null", b"true", b"\\ud800", b"\xc3\x28"),
    *(b"[" * 5000, b'{"a":' * 5000, b"(" * 2000, b"a" * 10_000, b"%00", b"../", b"{{"),
    *(b"=", b"\x1b[31m", "\u202e".encode(), b"&a *a", b"<html>"),
)  # fmt: skip
"""What parsers stumble over."""


def mutations(seeds: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Yield the seeds and `count` changed ones."""
    yield from seeds
    draw = random.Random(20)
    for _ in range(count):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
            _change(data, seeds, draw)
        yield bytes(data)


def _change(data: bytearray, seeds: Sequence[bytes], draw: random.Random) -> None:
    begin, end = sorted((draw.randint(0, len(data)), draw.randint(0, len(data))))
    match draw.randrange(7):
        case 0:  # one bit
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        case 1:  # cut off
            del data[begin:]
        case 2:  # a part is missing
            del data[begin : min(end, begin + 40)]
        case 3:  # a part is there twice
            data[begin:begin] = data[begin : min(end, begin + 200)]
        case 4:  # something strange
            data[begin:begin] = draw.choice(_PIECES)
        case 5:  # something strange in place of a part
            data[begin : min(end, begin + 20)] = draw.choice(_PIECES)
        case _:  # a part of another one
            other = draw.choice(seeds)
            at = draw.randint(0, len(other))
            data[begin:begin] = other[at : at + 60]
