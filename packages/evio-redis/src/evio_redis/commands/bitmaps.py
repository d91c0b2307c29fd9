"""Bitmaps: strings as arrays of bits, the most significant bit of a byte first.

https://redis.io/docs/latest/commands/?group=bitmap
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.config import Config
from ..errors import BIT_OFFSET, SYNTAX_ERROR, CommandError
from ..keyspace.types.strings import raw, spliced
from ..model.args import Options
from ..model.command import Args, command
from ..protocol.numbers import LLONG_MAX, parse_int, to_int
from ..protocol.resp import ZERO, array, integer

if TYPE_CHECKING:
    from ..clients.session import Session

__all__: list[str] = []

BLOCK = 1 << 20
"""Bytes of a value that are made a number at a time: one of 512 MB would be held several times over."""

NOT_A_BIT = "ERR bit is not an integer or out of range"
BAD_TYPE = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."


def _offset(session: Session, text: bytes, width: int = 0) -> int:
    """A bit's position; with ``width``, ``#n`` is the n-th field of that width. Raises :class:`CommandError`."""
    counted = width > 0 and text[:1] == b"#"
    number = to_int(text[1:] if counted else text)
    if number is None or number < 0:
        raise CommandError(BIT_OFFSET)
    number *= width if counted else 1
    if number >> 3 >= session.services[Config].proto_max_bulk_len:
        raise CommandError(BIT_OFFSET)
    return number


def _store(session: Session, key: bytes, value: bytes, changes: int) -> None:
    """Keep what bit operations made of a value; ``changes`` of them changed it."""
    database = session.db
    if key in database.data:
        database.data[key] = raw(value)
    else:
        database.add(key, raw(value))
    if changes:
        database.changed(key, "$", "setbit", changes)


@command("SETBIT", arity=4, flags="write denyoom", keys=(1,), group="bitmap", since="2.2.0")
def setbit(session: Session, args: Args) -> bytes:
    at = _offset(session, args[2])
    bit = to_int(args[3])
    if bit not in (0, 1):
        raise CommandError(NOT_A_BIT)
    value = session.db.typed(args[1], bytes) or b""
    index, mask = at >> 3, 0x80 >> (at & 7)
    grown = index >= len(value)
    byte = 0 if grown else value[index]
    before = int(byte & mask > 0)
    if grown or before != bit:
        value = spliced(value, index, bytes((byte ^ mask if before != bit else byte,)))
    _store(session, args[1], value, changes=int(grown or before != bit))
    return integer(before)


@command("GETBIT", arity=3, flags="readonly fast", keys=(1,), group="bitmap", since="2.2.0")
def getbit(session: Session, args: Args) -> bytes:
    at = _offset(session, args[2])
    value = session.db.read_typed(args[1], bytes) or b""
    return integer(value[at >> 3] >> (7 - (at & 7)) & 1) if at >> 3 < len(value) else ZERO


# -- counting and searching


def _bit_range(value: bytes, first: int, last: int, bits: bool) -> tuple[int, int]:
    """Inclusive, possibly negative indices of bytes or bits, as a range of bits."""
    size = len(value) * (8 if bits else 1)
    start = max(first + size if first < 0 else first, 0)
    stop = min(max(last + size if last < 0 else last, 0), size - 1) + 1
    factor = 1 if bits else 8
    return start * factor, max(start, stop) * factor


def _bits(value: bytes, start: int, stop: int) -> int:
    """The bits of a range as a number."""
    part = int.from_bytes(value[start >> 3 : (stop + 7) >> 3], "big")
    part >>= -stop % 8
    return part & ((1 << (stop - start)) - 1)


def _count(value: bytes, start: int, stop: int) -> int:
    """Count the bits of a range that are set."""
    step = BLOCK * 8
    return sum(_bits(value, at, min(at + step, stop)).bit_count() for at in range(start, stop, step))


def _find(value: bytes, bit: int, start: int, stop: int) -> int:
    """Return the position of the first such bit of a range; -1 if there is none."""
    for at in range(start, stop, BLOCK * 8):
        end = min(at + BLOCK * 8, stop)
        found = _bits(value, at, end)
        if not bit:
            found ^= (1 << (end - at)) - 1
        if found:
            return end - found.bit_length()
    return -1


def _unit(word: bytes) -> bool:
    if word.upper() not in (b"BYTE", b"BIT"):
        raise CommandError(SYNTAX_ERROR)
    return word.upper() == b"BIT"


@command("BITCOUNT", arity=-2, flags="readonly", keys=(1,), group="bitmap", since="2.6.0")
def bitcount(session: Session, args: Args) -> bytes:
    value = session.db.read_typed(args[1], bytes)
    if value is None:
        return ZERO
    if len(args) == 3 or len(args) > 5:
        raise CommandError(SYNTAX_ERROR)
    first, last = (parse_int(args[2]), parse_int(args[3])) if len(args) > 3 else (0, -1)
    if first < 0 and last < 0 and first > last:
        return ZERO
    start, stop = _bit_range(value, first, last, _unit(args[4]) if len(args) == 5 else False)
    return integer(_count(value, start, stop))


@command("BITPOS", arity=-3, flags="readonly", keys=(1,), group="bitmap", since="2.8.7")
def bitpos(session: Session, args: Args) -> bytes:
    bit = parse_int(args[2])
    if bit not in (0, 1):
        raise CommandError("ERR The bit argument must be 1 or 0.")
    value = session.db.read_typed(args[1], bytes)
    if value is None:
        return integer(-1 if bit else 0)
    if len(args) > 6:
        raise CommandError(SYNTAX_ERROR)
    first = parse_int(args[3]) if len(args) > 3 else 0
    bits = _unit(args[5]) if len(args) == 6 else False
    last = parse_int(args[4]) if len(args) > 4 else -1
    start, stop = _bit_range(value, first, last, bits)
    if start >= stop:
        return integer(-1)
    found = _find(value, bit, start, stop)
    if found >= 0:
        return integer(found)
    # Without an end the string counts as followed by zeros.
    return integer(len(value) * 8 if not bit and len(args) < 5 else -1)


def _combined(operation: bytes, values: list[memoryview], at: int, size: int) -> bytes:
    """Return the result of BITOP on ``size`` bytes from ``at`` on, where values that are shorter have zeros."""
    first, *others = (int.from_bytes(bytes(value[at : at + size]).ljust(size, b"\0"), "big") for value in values)
    result = first if operation != b"NOT" else first ^ ((1 << size * 8) - 1)
    for other in others:
        result = result & other if operation == b"AND" else result | other if operation == b"OR" else result ^ other
    return result.to_bytes(size, "big")


@command("BITOP", arity=-4, flags="write denyoom", keys=(2, -1, 1), group="bitmap", since="2.6.0")
def bitop(session: Session, args: Args) -> bytes:
    operation = args[1].upper()
    if operation not in (b"AND", b"OR", b"XOR", b"NOT"):
        raise CommandError(SYNTAX_ERROR)
    if operation == b"NOT" and len(args) != 4:
        raise CommandError("ERR BITOP NOT must be called with a single source key.")
    database, target = session.db, args[2]
    values = [database.read_typed(key, bytes) or b"" for key in args[3:]]
    size = max(map(len, values))
    if not size:
        if database.lookup(target) is not None:
            database.remove(target)
            database.changed(target, "g", "del")
        return ZERO
    views = [memoryview(value) for value in values]
    blocks = [_combined(operation, views, at, min(BLOCK, size - at)) for at in range(0, size, BLOCK)]
    database.put(target, raw(b"".join(blocks)))
    database.changed(target, "$", "set")
    return integer(size)


# -- BITFIELD


@dataclass(slots=True)
class _Step:
    """One operation of a BITFIELD."""

    name: bytes
    signed: bool
    width: int
    at: int
    operand: int = 0
    overflow: bytes = b"WRAP"


OPERANDS = {b"GET": 2, b"SET": 3, b"INCRBY": 3, b"OVERFLOW": 1}


def _steps(session: Session, args: Args) -> list[_Step]:
    steps: list[_Step] = []
    overflow = b"WRAP"
    options = Options(args, 2)
    for name in options:
        if name not in OPERANDS:
            raise options.unknown()
        operands = options.take(OPERANDS[name])
        if name == b"OVERFLOW":
            overflow = operands[0].upper()
            if overflow not in (b"WRAP", b"SAT", b"FAIL"):
                raise CommandError("ERR Invalid OVERFLOW type specified")
            continue
        signed, width = _type(operands[0])
        step = _Step(name, signed, width, _offset(session, operands[1], width), overflow=overflow)
        if name != b"GET":
            step.operand = parse_int(operands[2])
        steps.append(step)
    return steps


def _type(text: bytes) -> tuple[bool, int]:
    width = to_int(text[1:])
    sign = text[:1]
    if sign not in (b"i", b"u") or width is None or not 1 <= width <= (64 if sign == b"i" else 63):
        raise CommandError(BAD_TYPE)
    return sign == b"i", width


def _read(value: bytes | bytearray, step: _Step) -> int:
    stop = step.at + step.width
    part = bytes(value[step.at >> 3 : (stop + 7) >> 3]).ljust(((stop + 7) >> 3) - (step.at >> 3), b"\0")
    number = int.from_bytes(part, "big") >> (-stop % 8) & ((1 << step.width) - 1)
    return number - (1 << step.width) if step.signed and number >> (step.width - 1) else number


def _write(value: bytearray, step: _Step, number: int) -> None:
    stop = step.at + step.width
    first, last = step.at >> 3, (stop + 7) >> 3
    if len(value) < last:
        value += bytes(last - len(value))
    shift = -stop % 8
    mask = (1 << step.width) - 1
    whole = int.from_bytes(value[first:last], "big") & ~(mask << shift)
    value[first:last] = (whole | (number & mask) << shift).to_bytes(last - first, "big")


def _fit(step: _Step, number: int) -> int | None:
    """The number as the field can hold it; None if it is not to be written at all."""
    low, high = (-(1 << (step.width - 1)), (1 << (step.width - 1)) - 1) if step.signed else (0, (1 << step.width) - 1)
    if low <= number <= high:
        return number
    if step.overflow == b"FAIL":
        return None
    if step.overflow == b"SAT":
        # Redis takes what is SET to an unsigned field for unsigned itself, so a negative number is a large one; and how
        # far the smallest ones are below a signed field's highest number exceeds 64 bits, so they count as above it.
        below = step.name == b"INCRBY" or (step.signed and (step.width == 64 or high - number <= LLONG_MAX))
        return low if number < low and below else high
    number &= (1 << step.width) - 1
    return number - (1 << step.width) if step.signed and number >> (step.width - 1) else number


def _bitfield(session: Session, args: Args, read_only: bool) -> bytes:
    steps = _steps(session, args)
    if read_only and any(step.name != b"GET" for step in steps):
        raise CommandError("ERR BITFIELD_RO only supports the GET subcommand")
    writes = [step.at + step.width for step in steps if step.name != b"GET"]
    look_up = session.db.typed if writes else session.db.read_typed
    stored = look_up(args[1], bytes) or b""
    value = bytearray(stored)
    if writes and len(value) * 8 < max(writes):
        value += bytes(((max(writes) + 7) >> 3) - len(value))
    replies: list[bytes] = []
    grown = len(value) > len(stored)
    changes = 0
    for step in steps:
        before = _read(value, step)
        if step.name == b"GET":
            replies.append(integer(before))
            continue
        number = _fit(step, step.operand if step.name == b"SET" else before + step.operand)
        if number is None:
            replies.append(session.resp.null)
            continue
        _write(value, step, number)
        changes += grown or number != before
        replies.append(integer(before if step.name == b"SET" else number))
    if writes:  # also if none of them fit: Redis keeps the room that was made for them, and tells nobody
        _store(session, args[1], bytes(value), changes)
    return array(replies)


@command("BITFIELD", arity=-2, flags="write denyoom", keys=(1,), group="bitmap", since="3.2.0")
def bitfield(session: Session, args: Args) -> bytes:
    return _bitfield(session, args, read_only=False)


@command("BITFIELD_RO", arity=-2, flags="readonly fast", keys=(1,), group="bitmap", since="6.0.0")
def bitfield_ro(session: Session, args: Args) -> bytes:
    return _bitfield(session, args, read_only=True)
