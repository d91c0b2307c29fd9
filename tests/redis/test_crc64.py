"""The checksum of RDB files and DUMP payloads."""

from __future__ import annotations

import random

from evio_redis.persistence.rdb.crc64 import CHUNK, FOLD, TABLE, crc64
from tests.tables import each_row


def byte_by_byte(data: bytes, crc: int = 0) -> int:
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def test_the_check_value_of_the_polynomial() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA
    assert crc64(b"") == 0


FOLDED = 2 * FOLD // 8
"""Bytes from which folding begins."""

SIZES = [*range(FOLDED - 9, FOLDED + 9), *range(2 * FOLDED - 9, 2 * FOLDED + 9), 10_007, CHUNK - 1, CHUNK, CHUNK + 1]


@each_row("size", [*SIZES, 2 * CHUNK + 1000])
def test_folding_changes_nothing(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert crc64(data) == byte_by_byte(data)


def test_it_goes_on_from_what_came_before() -> None:
    data = random.Random(3).randbytes(CHUNK + 20_000)
    for cut in (0, 1, 7, 8, 5000, CHUNK, len(data)):
        assert crc64(data[cut:], crc64(data[:cut])) == crc64(data)
