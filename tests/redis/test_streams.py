"""Streams beside a real redis-server: replies, blocked clients, what WATCH is told; and how entries are kept."""

from __future__ import annotations

import random
import re
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis
import pytest
import redis

import evio_redis
from evio_redis.keyspace.types.stream_groups import Consumer, Group
from evio_redis.keyspace.types.stream_ids import LAST, to_id
from evio_redis.keyspace.types.streams import Stream, element_size, parse_body
from evio_redis.persistence.aof.encode import commands_of
from evio_redis.persistence.rdb import listpack, payload
from evio_redis.persistence.rdb.primitives import Reader
from evio_redis.persistence.rdb.streams import stream_pieces
from tests.core.harness import eventually
from tests.tables import each_row

from .transcripts import SERVERS, Conversation, check, conversations, running
from .wire import Wire, redis_server


@pytest.fixture(scope="module", params=SERVERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from running(request.param)


TRANSCRIPT = r"""
XADD s -> -ERR wrong number of arguments for 'xadd' command
XADD s 5 a -> -ERR wrong number of arguments for 'xadd' command
XADD s 5 a b c -> -ERR wrong number of arguments for 'xadd' command
XADD s NOMKSTREAM * a b -> $-1 | _
EXISTS s -> :0
XADD s 0-0 a b -> -ERR The ID specified in XADD must be greater than 0-0
XADD s 0 a b -> -ERR The ID specified in XADD must be greater than 0-0
XADD s x a b -> -ERR Invalid stream ID specified as stream command argument
XADD s - a b -> -ERR Invalid stream ID specified as stream command argument
XADD s 1-x a b -> -ERR Invalid stream ID specified as stream command argument
XADD s 1- a b -> -ERR Invalid stream ID specified as stream command argument
XADD s -1 a b -> -ERR Invalid stream ID specified as stream command argument
XADD s 18446744073709551616 a b -> -ERR Invalid stream ID specified as stream command argument
XADD s MAXLEN a b -> -ERR value is not an integer or out of range
XADD s MAXLEN 1 MINID 1 1 a b -> -ERR syntax error, MAXLEN and MINID options at the same time are not compatible
XADD s MAXLEN -1 1 a b -> -ERR The MAXLEN argument must be >= 0.
XADD s MAXLEN x 1 a b -> -ERR value is not an integer or out of range
XADD s MINID x 1 a b -> -ERR Invalid stream ID specified as stream command argument
XADD s MINID - 1 a b -> -ERR Invalid stream ID specified as stream command argument
XADD s LIMIT 1 1 a b -> -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
XADD s LIMIT 0 1 a b -> -ERR syntax error, LIMIT cannot be used without the special ~ option
XADD s MAXLEN 5 LIMIT 1 1 a b -> -ERR syntax error, LIMIT cannot be used without the special ~ option
XADD s MAXLEN ~ 5 LIMIT -1 1 a b -> -ERR The LIMIT argument must be >= 0.
XADD s MAXLEN ~ 5 LIMIT x 1 a b -> -ERR value is not an integer or out of range
EXISTS s -> :0

XADD s 0-* a b -> $3 0-1
XADD s 0-1 a b -> -ERR The ID specified in XADD is equal or smaller than the target stream top item
XADD s 0-2 a b -> $3 0-2
XADD s 0-* a b -> $3 0-3
XADD s 007-01 a b -> $3 7-1
XADD s +8 a b -> $3 8-0
XADD s 7-9 a b -> -ERR The ID specified in XADD is equal or smaller than the target stream top item
XADD s 8-18446744073709551615 a b -> $22 8-18446744073709551615
XADD s 18446744073709551615-18446744073709551614 a b -> $41 18446744073709551615-18446744073709551614
XADD s 18446744073709551615-* a b -> $41 18446744073709551615-18446744073709551615
XADD s * a b -> -ERR The stream has exhausted the last possible ID, unable to add more items
XADD s 18446744073709551615-* a b -> -ERR The stream has exhausted the last possible ID, unable to add more items
XRANGE s - + COUNT 2 -> *2 *2 $3 0-1 *2 $1 a $1 b *2 $3 0-2 *2 $1 a $1 b
XLEN s -> :8
TYPE s -> +stream
OBJECT ENCODING s -> $6 stream
OBJECT REFCOUNT s -> :1
GET s -> -WRONGTYPE Operation against a key holding the wrong kind of value
LPUSH s x -> -WRONGTYPE Operation against a key holding the wrong kind of value
SCAN 0 TYPE stream -> *2 $1 0 *1 $1 s
SET str x -> +OK
XADD str * a b -> -WRONGTYPE Operation against a key holding the wrong kind of value
XADD str 0-0 a b -> -ERR The ID specified in XADD must be greater than 0-0
XADD str NOMKSTREAM * a b -> -WRONGTYPE Operation against a key holding the wrong kind of value
XLEN str -> -WRONGTYPE Operation against a key holding the wrong kind of value
XLEN nothing -> :0

XADD s 1-1 a 1 b 2 -> $3 1-1
XADD s 1-2 a 3 -> $3 1-2
XADD s 3-0 c 4 -> $3 3-0
XRANGE s -> -ERR wrong number of arguments for 'xrange' command
XRANGE s - + -> *3 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2 *2 $3 1-2 *2 $1 a $1 3 *2 $3 3-0 *2 $1 c $1 4
XRANGE s 1 1 -> *2 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2 *2 $3 1-2 *2 $1 a $1 3
XRANGE s 1-2 + -> *2 *2 $3 1-2 *2 $1 a $1 3 *2 $3 3-0 *2 $1 c $1 4
XRANGE s (1-2 + -> *1 *2 $3 3-0 *2 $1 c $1 4
XRANGE s - (1-2 -> *1 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2
XRANGE s + - -> *0
XRANGE s 2 2 -> *0
XRANGE s - + COUNT -> -ERR syntax error
XRANGE s - + COUNT 0 -> *-1 | _
XRANGE s - + COUNT -1 -> *-1 | _
XRANGE s - + COUNT x -> -ERR value is not an integer or out of range
XRANGE s - + COUNT 1 -> *1 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2
XRANGE s - + COUNT 1 COUNT 2 -> *2 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2 *2 $3 1-2 *2 $1 a $1 3
XRANGE s - + FOO 1 -> -ERR syntax error
XRANGE s x + -> -ERR Invalid stream ID specified as stream command argument
XRANGE s (- + -> -ERR Invalid stream ID specified as stream command argument
XRANGE s (18446744073709551615-18446744073709551615 + -> -ERR invalid start ID for the interval
XRANGE s - (0-0 -> -ERR invalid end ID for the interval
XRANGE s - (0 -> *0
XREVRANGE s + - COUNT 2 -> *2 *2 $3 3-0 *2 $1 c $1 4 *2 $3 1-2 *2 $1 a $1 3
XREVRANGE s - + -> *0
XREVRANGE s 1 1 -> *2 *2 $3 1-2 *2 $1 a $1 3 *2 $3 1-1 *4 $1 a $1 1 $1 b $1 2
XREVRANGE s (3 (1-1 -> *2 *2 $3 3-0 *2 $1 c $1 4 *2 $3 1-2 *2 $1 a $1 3
XRANGE nothing - + COUNT 0 -> *0
XRANGE nothing - + -> *0
SET str x -> +OK
XRANGE str - + -> -WRONGTYPE Operation against a key holding the wrong kind of value

XADD s 1-1 a 1 -> $3 1-1
XADD s 2-1 a 1 -> $3 2-1
XADD s 3-1 a 1 -> $3 3-1
XADD s 4-1 a 1 -> $3 4-1
XDEL s -> -ERR wrong number of arguments for 'xdel' command
XDEL s x -> -ERR Invalid stream ID specified as stream command argument
XDEL s 2-1 x -> -ERR Invalid stream ID specified as stream command argument
XDEL s 2-1 2-1 9-9 -> :1
XLEN s -> :3
XRANGE s - + -> *3 *2 $3 1-1 *2 $1 a $1 1 *2 $3 3-1 *2 $1 a $1 1 *2 $3 4-1 *2 $1 a $1 1
XREVRANGE s + - COUNT 2 -> *2 *2 $3 4-1 *2 $1 a $1 1 *2 $3 3-1 *2 $1 a $1 1
XDEL nothing x -> :0
XTRIM s -> -ERR wrong number of arguments for 'xtrim' command
XTRIM s MAXLEN -> -ERR wrong number of arguments for 'xtrim' command
XTRIM s FOO 1 -> -ERR syntax error
XTRIM s LIMIT 1 -> -ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
XTRIM s LIMIT 0 -> -ERR syntax error, XTRIM must be called with a trimming strategy
XTRIM s MAXLEN ~ -> -ERR value is not an integer or out of range
XTRIM s MAXLEN 1 x -> -ERR syntax error
XTRIM s MAXLEN ~ 1 -> :0
XTRIM s MAXLEN = 2 -> :1
XRANGE s - + -> *2 *2 $3 3-1 *2 $1 a $1 1 *2 $3 4-1 *2 $1 a $1 1
XTRIM s MINID 4 -> :1
XRANGE s - + -> *1 *2 $3 4-1 *2 $1 a $1 1
XTRIM s MINID ~ 5 -> :1
XLEN s -> :0
EXISTS s -> :1
XADD s MAXLEN 2 5-1 a 1 -> $3 5-1
XADD s MAXLEN ~ 2 5-2 a 1 -> $3 5-2
XADD s MAXLEN 2 5-3 a 1 -> $3 5-3
XADD s MINID 5-3 5-4 a 1 -> $3 5-4
XRANGE s - + -> *2 *2 $3 5-3 *2 $1 a $1 1 *2 $3 5-4 *2 $1 a $1 1
XADD s MAXLEN 0 6-1 a 1 -> $3 6-1
XLEN s -> :0
XINFO STREAM s -> *20 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 6-1 $20
  max-deleted-entry-id $3 2-1 $13 entries-added :9 $23 recorded-first-entry-id $3 0-0 $6 groups :0 $11 first-entry
  $-1 $10 last-entry $-1 | %10 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3
  6-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :9 $23 recorded-first-entry-id $3 0-0 $6 groups :0 $11
  first-entry _ $10 last-entry _
XTRIM nothing MAXLEN x -> -ERR value is not an integer or out of range
XTRIM nothing MAXLEN 1 -> :0
SET str x -> +OK
XTRIM str MAXLEN 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
XDEL str x -> -WRONGTYPE Operation against a key holding the wrong kind of value

XSETID nothing 1-1 -> -ERR no such key
XADD s 3-1 a 1 -> $3 3-1
XSETID s -> -ERR wrong number of arguments for 'xsetid' command
XSETID s x -> -ERR Invalid stream ID specified as stream command argument
XSETID s 1-1 -> -ERR The ID specified in XSETID is smaller than the target stream top item
XSETID s 5-1 -> +OK
XSETID s 5-1 ENTRIESADDED -> -ERR syntax error
XSETID s 5-1 ENTRIESADDED -1 -> -ERR entries_added must be positive
XSETID s 5-1 ENTRIESADDED x -> -ERR value is not an integer or out of range
XSETID s 5-1 ENTRIESADDED 0 -> -ERR The entries_added specified in XSETID is smaller than the target stream length
XSETID s 5-1 MAXDELETEDID 6-1 -> -ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
XSETID s 5-1 MAXDELETEDID x -> -ERR Invalid stream ID specified as stream command argument
XSETID s 5-1 FOO -> -ERR syntax error
XSETID s 5-1 ENTRIESADDED 7 MAXDELETEDID 2-1 -> +OK
XINFO STREAM s -> *20 $6 length :1 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 5-1 $20
  max-deleted-entry-id $3 2-1 $13 entries-added :7 $23 recorded-first-entry-id $3 3-1 $6 groups :0 $11 first-entry *2
  $3 3-1 *2 $1 a $1 1 $10 last-entry *2 $3 3-1 *2 $1 a $1 1 | %10 $6 length :1 $15 radix-tree-keys :1 $16
  radix-tree-nodes :2 $17 last-generated-id $3 5-1 $20 max-deleted-entry-id $3 2-1 $13 entries-added :7 $23
  recorded-first-entry-id $3 3-1 $6 groups :0 $11 first-entry *2 $3 3-1 *2 $1 a $1 1 $10 last-entry *2 $3 3-1 *2 $1 a
  $1 1
XADD s 5-1 a 1 -> -ERR The ID specified in XADD is equal or smaller than the target stream top item
SET str x -> +OK
XSETID str 1-1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

XADD s 1-1 a 1 -> $3 1-1
XADD t 2-1 b 2 -> $3 2-1
XREAD -> -ERR wrong number of arguments for 'xread' command
XREAD STREAMS s -> -ERR wrong number of arguments for 'xread' command
XREAD STREAMS s 0 -> *1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 | %1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1
XREAD STREAMS s t 0 0 -> *2 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 *2 $1 t *1 *2 $3 2-1 *2 $1 b $1 2 | %2 $1 s *1 *2 $3
  1-1 *2 $1 a $1 1 $1 t *1 *2 $3 2-1 *2 $1 b $1 2
XREAD STREAMS s t 1-1 0 -> *1 *2 $1 t *1 *2 $3 2-1 *2 $1 b $1 2 | %1 $1 t *1 *2 $3 2-1 *2 $1 b $1 2
XREAD STREAMS s t 1-1 2-1 -> *-1 | _
XREAD STREAMS s 0 t -> -ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified.
XREAD COUNT x STREAMS s 0 -> -ERR value is not an integer or out of range
XREAD COUNT -1 STREAMS s 0 -> *1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 | %1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1
XREAD BLOCK -1 STREAMS s 0 -> -ERR timeout is negative
XREAD BLOCK x STREAMS s 0 -> -ERR timeout is not an integer or out of range
XREAD BLOCK 1 STREAMS s $ -> *-1 | _
XREAD BLOCK 1 STREAMS nothing 0 -> *-1 | _
XREAD STREAMS s $ -> *-1 | _
XREAD FOO STREAMS s 0 -> -ERR syntax error
XREAD COUNT 1 BLOCK 1 -> -ERR syntax error
XREAD GROUP g c STREAMS s 0 -> -ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
XREAD NOACK STREAMS s 0 -> -ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
XREAD STREAMS s > -> -ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer>
  option.
XREAD STREAMS s - -> -ERR Invalid stream ID specified as stream command argument
XREAD STREAMS nothing x -> -ERR Invalid stream ID specified as stream command argument
XREAD STREAMS nothing 0 -> *-1 | _
SET str x -> +OK
XREAD STREAMS str 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
XREAD STREAMS s str 0 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
MULTI -> +OK
XREAD BLOCK 0 STREAMS s $ -> +QUEUED
EXEC -> *1 *-1 | *1 _

XGROUP -> -ERR wrong number of arguments for 'xgroup' command
XGROUP FOO -> -ERR unknown subcommand 'FOO'. Try XGROUP HELP.
XGROUP CREATE -> -ERR wrong number of arguments for 'xgroup|create' command
XGROUP CREATE s g -> -ERR wrong number of arguments for 'xgroup|create' command
XGROUP CREATE nothing g 0 -> -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want
  to use the MKSTREAM option to create an empty stream automatically.
XGROUP CREATE nothing g x -> -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want
  to use the MKSTREAM option to create an empty stream automatically.
XGROUP CREATE s g x MKSTREAM -> -ERR Invalid stream ID specified as stream command argument
EXISTS s -> :0
XGROUP CREATE s g 0 MKSTREAM -> +OK
XINFO STREAM s -> *20 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3 0-0 $20
  max-deleted-entry-id $3 0-0 $13 entries-added :0 $23 recorded-first-entry-id $3 0-0 $6 groups :1 $11 first-entry
  $-1 $10 last-entry $-1 | %10 $6 length :0 $15 radix-tree-keys :0 $16 radix-tree-nodes :1 $17 last-generated-id $3
  0-0 $20 max-deleted-entry-id $3 0-0 $13 entries-added :0 $23 recorded-first-entry-id $3 0-0 $6 groups :1 $11
  first-entry _ $10 last-entry _
XGROUP CREATE s g 0 -> -BUSYGROUP Consumer Group name already exists
XGROUP CREATE s g 0 FOO -> -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
XGROUP CREATE s g 0 ENTRIESREAD -> -ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
XGROUP CREATE s g 0 ENTRIESREAD -2 -> -ERR value for ENTRIESREAD must be positive or -1
XGROUP CREATE s g 0 ENTRIESREAD x -> -ERR value is not an integer or out of range
XGROUP CREATE s h $ ENTRIESREAD -1 MKSTREAM -> +OK
XGROUP SETID s g x -> -ERR Invalid stream ID specified as stream command argument
XGROUP SETID s nothing 0 -> -NOGROUP No such consumer group 'nothing' for key name 's'
XGROUP SETID nothing g 0 -> -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want
  to use the MKSTREAM option to create an empty stream automatically.
XGROUP SETID s g 0 MKSTREAM -> -ERR unknown subcommand or wrong number of arguments for 'SETID'. Try XGROUP HELP.
XGROUP SETID s g - -> +OK
XGROUP SETID s h + -> +OK
XGROUP SETID s h 0 -> +OK
XGROUP SETID s g (5 -> -ERR Invalid stream ID specified as stream command argument
XGROUP CREATE s i - -> -ERR Invalid stream ID specified as stream command argument
XGROUP SETID s g 5 ENTRIESREAD 3 -> +OK
XINFO GROUPS s -> *2 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 5-0 $12 entries-read :3
  $3 lag :0 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag
  :0 | *2 %6 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 5-0 $12 entries-read :3 $3 lag :0 %6
  $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read _ $3 lag :0
XGROUP CREATECONSUMER s nothing c -> -NOGROUP No such consumer group 'nothing' for key name 's'
XGROUP CREATECONSUMER s g c -> :1
XGROUP CREATECONSUMER s g c -> :0
XGROUP DELCONSUMER s g nothing -> :0
XGROUP DELCONSUMER s nothing c -> -NOGROUP No such consumer group 'nothing' for key name 's'
XGROUP DELCONSUMER s g c -> :0
XGROUP DESTROY nothing g -> -ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want
  to use the MKSTREAM option to create an empty stream automatically.
XGROUP DESTROY s nothing -> :0
XGROUP DESTROY s g x -> -ERR wrong number of arguments for 'xgroup|destroy' command
XGROUP DESTROY s g -> :1
XGROUP DESTROY s g -> :0
SET str x -> +OK
XGROUP CREATE str g 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
XGROUP DESTROY str g -> -WRONGTYPE Operation against a key holding the wrong kind of value

XADD s 1-1 a 1 -> $3 1-1
XADD s 2-1 b 2 -> $3 2-1
XADD s 3-1 c 3 -> $3 3-1
XREADGROUP STREAMS s 0 -> -ERR wrong number of arguments for 'xreadgroup' command
XREADGROUP STREAMS s 0 0 a b c d -> -ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be
  specified.
XREADGROUP GROUP g c STREAMS s 0 -> -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
XREADGROUP GROUP g c STREAMS nothing > -> -NOGROUP No such key 'nothing' or consumer group 'g' in XREADGROUP with
  GROUP option
XREADGROUP GROUP g c STREAMS s > > -> -ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be
  specified.
XREADGROUP COUNT 1 BLOCK 2 STREAMS s > -> -ERR Missing GROUP option for XREADGROUP
XGROUP CREATE s g 0 -> +OK
XREADGROUP GROUP g c STREAMS s $ -> -ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the
  history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return
  an empty result set.
XREADGROUP GROUP g c STREAMS s x -> -ERR Invalid stream ID specified as stream command argument
XREADGROUP GROUP g c STREAMS s - -> -ERR Invalid stream ID specified as stream command argument
XREADGROUP GROUP g c STREAMS s 0 -> *1 *2 $1 s *0 | %1 $1 s *0
XREADGROUP GROUP g c COUNT 1 STREAMS s > -> *1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 | %1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1
XREADGROUP GROUP g d COUNT 1 BLOCK 0 STREAMS s > -> *1 *2 $1 s *1 *2 $3 2-1 *2 $1 b $1 2 | %1 $1 s *1 *2 $3 2-1 *2 $1
  b $1 2
XREADGROUP GROUP g c STREAMS s 0 -> *1 *2 $1 s *1 *2 $3 1-1 *2 $1 a $1 1 | %1 $1 s *1 *2 $3 1-1 *2 $1 a $1 1
XREADGROUP GROUP g c STREAMS s 1-1 -> *1 *2 $1 s *0 | %1 $1 s *0
XREADGROUP GROUP g d STREAMS s 0-0 -> *1 *2 $1 s *1 *2 $3 2-1 *2 $1 b $1 2 | %1 $1 s *1 *2 $3 2-1 *2 $1 b $1 2
XREADGROUP GROUP g d NOACK STREAMS s > -> *1 *2 $1 s *1 *2 $3 3-1 *2 $1 c $1 3 | %1 $1 s *1 *2 $3 3-1 *2 $1 c $1 3
XREADGROUP GROUP g d STREAMS s > -> *-1 | _
XREADGROUP GROUP g d BLOCK 1 STREAMS s > -> *-1 | _
XPENDING s g -> *4 :2 $3 1-1 $3 2-1 *2 *2 $1 c $1 1 *2 $1 d $1 1
XDEL s 1-1 -> :1
XREADGROUP GROUP g c STREAMS s 0 -> *1 *2 $1 s *1 *2 $3 1-1 *-1 | %1 $1 s *1 *2 $3 1-1 _
XACK s g -> -ERR wrong number of arguments for 'xack' command
XACK s g x -> -ERR Invalid stream ID specified as stream command argument
XACK s g 1-1 9-9 -> :1
XACK s g 1-1 -> :0
XACK s nothing x -> :0
XACK nothing g x -> :0
XPENDING s g -> *4 :1 $3 2-1 $3 2-1 *1 *2 $1 d $1 1
XGROUP DELCONSUMER s g d -> :1
XPENDING s g -> *4 :0 $-1 $-1 *-1 | *4 :0 _ _ _
XINFO GROUPS s -> *1 *12 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 3-1 $12 entries-read :3
  $3 lag :0 | *1 %6 $4 name $1 g $9 consumers :1 $7 pending :0 $17 last-delivered-id $3 3-1 $12 entries-read :3 $3
  lag :0
SET str x -> +OK
XREADGROUP GROUP g c STREAMS str > -> -WRONGTYPE Operation against a key holding the wrong kind of value
XACK str g 1 -> -WRONGTYPE Operation against a key holding the wrong kind of value
MULTI -> +OK
XREADGROUP GROUP g c BLOCK 0 STREAMS s > -> +QUEUED
EXEC -> *1 *-1 | *1 _

XADD s 1-1 a 1 -> $3 1-1
XADD s 2-1 b 2 -> $3 2-1
XADD s 3-1 c 3 -> $3 3-1
XGROUP CREATE s g 0 -> +OK
XREADGROUP GROUP g c COUNT 2 STREAMS s > -> *1 *2 $1 s *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 | %1 $1 s *2
  *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2
XCLAIM s g c x 1 -> -ERR Invalid min-idle-time argument for XCLAIM
XCLAIM s g c 0 x -> -ERR Unrecognized XCLAIM option 'x'
XCLAIM s g c 0 1-1 FORCE FOO -> -ERR Unrecognized XCLAIM option 'FOO'
XCLAIM s g c 0 1-1 IDLE -> -ERR Unrecognized XCLAIM option 'IDLE'
XCLAIM s g c 0 1-1 IDLE x -> -ERR Invalid IDLE option argument for XCLAIM
XCLAIM s g c 0 1-1 TIME x -> -ERR Invalid TIME option argument for XCLAIM
XCLAIM s g c 0 1-1 RETRYCOUNT x -> -ERR Invalid RETRYCOUNT option argument for XCLAIM
XCLAIM s g c 0 1-1 LASTID x -> -ERR Invalid stream ID specified as stream command argument
XCLAIM s nothing c x 1-1 -> -NOGROUP No such key 's' or consumer group 'nothing'
XCLAIM nothing g c 0 1-1 -> -NOGROUP No such key 'nothing' or consumer group 'g'
XCLAIM s g d 0 1-1 -> *1 *2 $3 1-1 *2 $1 a $1 1
XCLAIM s g d 0 1-1 JUSTID -> *1 $3 1-1
XCLAIM s g d 100000 1-1 -> *0
XCLAIM s g e 0 3-1 -> *0
XCLAIM s g e 0 3-1 FORCE RETRYCOUNT 7 JUSTID LASTID 3-1 -> *1 $3 3-1
XCLAIM s g e 0 9-9 FORCE -> *0
XPENDING s g -> *4 :3 $3 1-1 $3 3-1 *3 *2 $1 c $1 1 *2 $1 d $1 1 *2 $1 e $1 1
XPENDING s g - + 10 nothing -> *0
XDEL s 2-1 -> :1
XCLAIM s g e 0 2-1 -> *0
XPENDING s g -> *4 :2 $3 1-1 $3 3-1 *2 *2 $1 d $1 1 *2 $1 e $1 1
XINFO GROUPS s -> *1 *12 $4 name $1 g $9 consumers :3 $7 pending :2 $17 last-delivered-id $3 3-1 $12 entries-read :2
  $3 lag :1 | *1 %6 $4 name $1 g $9 consumers :3 $7 pending :2 $17 last-delivered-id $3 3-1 $12 entries-read :2 $3
  lag :1
SET str x -> +OK
XCLAIM str g c 0 1-1 -> -WRONGTYPE Operation against a key holding the wrong kind of value

XADD s 1-1 a 1 -> $3 1-1
XADD s 2-1 b 2 -> $3 2-1
XADD s 3-1 c 3 -> $3 3-1
XGROUP CREATE s g 0 -> +OK
XREADGROUP GROUP g c STREAMS s > -> *1 *2 $1 s *3 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 *2 $3 3-1 *2 $1 c $1
  3 | %1 $1 s *3 *2 $3 1-1 *2 $1 a $1 1 *2 $3 2-1 *2 $1 b $1 2 *2 $3 3-1 *2 $1 c $1 3
XAUTOCLAIM s g c x 0 -> -ERR Invalid min-idle-time argument for XAUTOCLAIM
XAUTOCLAIM s g c 0 x -> -ERR Invalid stream ID specified as stream command argument
XAUTOCLAIM s g c 0 0 COUNT 0 -> -ERR COUNT must be > 0
XAUTOCLAIM s g c 0 0 COUNT x -> -ERR COUNT must be > 0
XAUTOCLAIM s g c 0 0 COUNT 9223372036854775807 -> -ERR COUNT must be > 0
XAUTOCLAIM s g c 0 0 FOO -> -ERR syntax error
XAUTOCLAIM s nothing c 0 0 -> -NOGROUP No such key 's' or consumer group 'nothing'
XAUTOCLAIM s g c 0 (18446744073709551615-18446744073709551615 -> -ERR invalid start ID for the interval
XAUTOCLAIM s g d 100000 0 -> *3 $3 0-0 *0 *0
XAUTOCLAIM s g d 0 0 COUNT 1 -> *3 $3 2-1 *1 *2 $3 1-1 *2 $1 a $1 1 *0
XAUTOCLAIM s g d 0 (1-1 COUNT 1 JUSTID -> *3 $3 3-1 *1 $3 2-1 *0
XDEL s 2-1 -> :1
XAUTOCLAIM s g e 0 - -> *3 $3 0-0 *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 3-1 *2 $1 c $1 3 *1 $3 2-1
XAUTOCLAIM s g e 0 - JUSTID -> *3 $3 0-0 *2 $3 1-1 $3 3-1 *0
XPENDING s g -> *4 :2 $3 1-1 $3 3-1 *1 *2 $1 e $1 2
XPENDING s nothing -> -NOGROUP No such key 's' or consumer group 'nothing'
XPENDING nothing g -> -NOGROUP No such key 'nothing' or consumer group 'g'
XPENDING s g - + -> -ERR syntax error
XPENDING s g - + x -> -ERR value is not an integer or out of range
XPENDING s g - + -1 -> *0
XPENDING s g x + 1 -> -ERR Invalid stream ID specified as stream command argument
XPENDING s g (18446744073709551615-18446744073709551615 + 1 -> -ERR invalid start ID for the interval
XPENDING s g IDLE 0 - + -> -ERR syntax error
XPENDING s g IDLE x - + 1 -> -ERR value is not an integer or out of range
XPENDING s g IDLE 1000000 - + 1 -> *0
XPENDING s g FOO 0 - + 1 c -> -ERR value is not an integer or out of range
XPENDING s g IDLE 0 - + 1 c d -> -ERR syntax error
SET str x -> +OK
XAUTOCLAIM str g c 0 0 -> -WRONGTYPE Operation against a key holding the wrong kind of value
XPENDING str g -> -WRONGTYPE Operation against a key holding the wrong kind of value

XINFO -> -ERR wrong number of arguments for 'xinfo' command
XINFO FOO -> -ERR unknown subcommand 'FOO'. Try XINFO HELP.
XINFO STREAM nothing -> -ERR no such key
XINFO GROUPS nothing -> -ERR no such key
XINFO CONSUMERS nothing g -> -ERR no such key
XADD s 1-1 a 1 -> $3 1-1
XADD s 1-2 a 2 b 3 -> $3 1-2
XGROUP CREATE s g 0 -> +OK
XGROUP CREATE s h 1-2 -> +OK
XINFO STREAM s -> *20 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 1-2 $20
  max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-1 $6 groups :2 $11 first-entry *2
  $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 1-2 *4 $1 a $1 2 $1 b $1 3 | %10 $6 length :2 $15 radix-tree-keys :1 $16
  radix-tree-nodes :2 $17 last-generated-id $3 1-2 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23
  recorded-first-entry-id $3 1-1 $6 groups :2 $11 first-entry *2 $3 1-1 *2 $1 a $1 1 $10 last-entry *2 $3 1-2 *4 $1 a
  $1 2 $1 b $1 3
XINFO STREAM s FULL -> *18 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 1-2
  $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-1 $7 entries *2 *2 $3 1-1 *2
  $1 a $1 1 *2 $3 1-2 *4 $1 a $1 2 $1 b $1 3 $6 groups *2 *14 $4 name $1 g $17 last-delivered-id $3 0-0 $12
  entries-read $-1 $3 lag :2 $9 pel-count :0 $7 pending *0 $9 consumers *0 *14 $4 name $1 h $17 last-delivered-id $3
  1-2 $12 entries-read $-1 $3 lag :0 $9 pel-count :0 $7 pending *0 $9 consumers *0 | %9 $6 length :2 $15
  radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id $3 1-2 $20 max-deleted-entry-id $3 0-0 $13
  entries-added :2 $23 recorded-first-entry-id $3 1-1 $7 entries *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *4 $1 a $1 2 $1
  b $1 3 $6 groups *2 %7 $4 name $1 g $17 last-delivered-id $3 0-0 $12 entries-read _ $3 lag :2 $9 pel-count :0 $7
  pending *0 $9 consumers *0 %7 $4 name $1 h $17 last-delivered-id $3 1-2 $12 entries-read _ $3 lag :0 $9 pel-count
  :0 $7 pending *0 $9 consumers *0
XINFO STREAM s FULL COUNT 1 -> *18 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes :2 $17 last-generated-id
  $3 1-2 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3 1-1 $7 entries *1 *2 $3
  1-1 *2 $1 a $1 1 $6 groups *2 *14 $4 name $1 g $17 last-delivered-id $3 0-0 $12 entries-read $-1 $3 lag :2 $9
  pel-count :0 $7 pending *0 $9 consumers *0 *14 $4 name $1 h $17 last-delivered-id $3 1-2 $12 entries-read $-1 $3
  lag :0 $9 pel-count :0 $7 pending *0 $9 consumers *0 | %9 $6 length :2 $15 radix-tree-keys :1 $16 radix-tree-nodes
  :2 $17 last-generated-id $3 1-2 $20 max-deleted-entry-id $3 0-0 $13 entries-added :2 $23 recorded-first-entry-id $3
  1-1 $7 entries *1 *2 $3 1-1 *2 $1 a $1 1 $6 groups *2 %7 $4 name $1 g $17 last-delivered-id $3 0-0 $12 entries-read
  _ $3 lag :2 $9 pel-count :0 $7 pending *0 $9 consumers *0 %7 $4 name $1 h $17 last-delivered-id $3 1-2 $12
  entries-read _ $3 lag :0 $9 pel-count :0 $7 pending *0 $9 consumers *0
XINFO STREAM s FULL COUNT -> -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
XINFO STREAM s FULL FOO 1 -> -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
XINFO STREAM s FULL COUNT x -> -ERR value is not an integer or out of range
XINFO STREAM s FOO -> -ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
XINFO GROUPS s -> *2 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1
  $3 lag :2 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-2 $12 entries-read $-1 $3 lag
  :0 | *2 %6 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read _ $3 lag :2 %6
  $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-2 $12 entries-read _ $3 lag :0
XINFO CONSUMERS s g -> *0
XINFO CONSUMERS s nothing -> -NOGROUP No such consumer group 'nothing' for key name 's'
XINFO CONSUMERS s -> -ERR wrong number of arguments for 'xinfo|consumers' command
XDEL s 1-1 -> :1
XINFO GROUPS s -> *2 *12 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read $-1
  $3 lag :1 *12 $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-2 $12 entries-read $-1 $3 lag
  :0 | *2 %6 $4 name $1 g $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 0-0 $12 entries-read _ $3 lag :1 %6
  $4 name $1 h $9 consumers :0 $7 pending :0 $17 last-delivered-id $3 1-2 $12 entries-read _ $3 lag :0
SET str x -> +OK
XINFO STREAM str -> -WRONGTYPE Operation against a key holding the wrong kind of value
XINFO GROUPS str -> -WRONGTYPE Operation against a key holding the wrong kind of value
XINFO CONSUMERS str g -> -WRONGTYPE Operation against a key holding the wrong kind of value

XADD s 1-1 a 1 -> $3 1-1
XADD s 1-2 a 2 b 3 -> $3 1-2
COPY s t -> :1
XDEL s 1-1 -> :1
XRANGE t - + -> *2 *2 $3 1-1 *2 $1 a $1 1 *2 $3 1-2 *4 $1 a $1 2 $1 b $1 3
XRANGE s - + -> *1 *2 $3 1-2 *4 $1 a $1 2 $1 b $1 3
RENAME t u -> +OK
XLEN u -> :2
COMMAND GETKEYS XREAD COUNT 1 STREAMS a b 0 0 -> *2 $1 a $1 b
COMMAND GETKEYS XREADGROUP GROUP g c COUNT 1 STREAMS a b > > -> *2 $1 a $1 b
COMMAND GETKEYS XREADGROUP GROUP streams c COUNT 1 STREAMS a b > > -> *2 $1 a $1 b
COMMAND GETKEYS XADD s * a b -> *1 $1 s
COMMAND GETKEYS XINFO STREAM s -> *1 $1 s
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_replies(port: int, group: list[Conversation]) -> None:
    check(port, group)


# -- blocked clients

READ = "XREAD BLOCK 0 STREAMS s $"
READ_GROUP = "XREADGROUP GROUP g {} BLOCK 0 STREAMS s >"

THEN = [
    (READ, "XADD s 1-1 a b"),
    ("XREAD BLOCK 0 STREAMS s 0", "XADD s 1-1 a b"),
    ("XREAD COUNT 1 BLOCK 0 STREAMS s t $ $", "MULTI|XADD t 1-1 a b|XADD t 1-2 a b|EXEC"),
    ("XREAD BLOCK 0 STREAMS s 5", "XADD s 1-1 a b|XADD s 6-1 a b"),
    ("XREAD BLOCK 0 STREAMS s 5", "MULTI|XADD s 6-1 a b|DEL s|EXEC|SET s x|DEL s|XADD s 7-1 a b"),
    ("XREAD BLOCK 0 STREAMS s s 5 7", "XADD s 6-1 a b"),
    ("XREAD BLOCK 0 STREAMS s s 7 5", "XADD s 6-1 a b|XADD s 8-1 a b"),
    (READ, "XADD s NOMKSTREAM 1-1 a b|XGROUP CREATE s g 0 MKSTREAM|XSETID s 9-9|XADD s 10-1 a b"),
    (READ, "XADD other 5-5 a b|RENAME other s"),
    (READ_GROUP, "XADD s 2-1 a b|XADD s 3-1 a b"),
    (READ_GROUP.replace("BLOCK", "NOACK BLOCK"), "XADD s 2-1 a b|XADD s 2-2 a b"),
    (READ_GROUP, "MULTI|XADD s 2-1 a b|XADD s 3-1 a b|EXEC|XADD s 4-1 a b"),
    (READ_GROUP, "DEL s"),
    (READ_GROUP, "UNLINK s"),
    (READ_GROUP, "SET s x"),
    (READ_GROUP, "MULTI|DEL s|SADD s x|EXEC"),
    (READ_GROUP, "RENAME s t"),
    (READ_GROUP, "SET t x|RENAME t s"),
    (READ_GROUP, "FLUSHALL"),
    (READ_GROUP, "FLUSHDB"),
    (READ_GROUP, "SWAPDB 0 1"),
    (READ_GROUP, "MOVE s 1"),
    (READ_GROUP, "XGROUP DESTROY s g"),
    (READ_GROUP, "PEXPIRE s 1"),
    (READ_GROUP, "EXPIRE s -1"),
    (READ_GROUP, "XGROUP CREATE x g 0 MKSTREAM|COPY x s REPLACE|XADD s 9-9 a b|XADD s 9-10 a b"),
    (READ_GROUP, "MULTI|DEL s|XGROUP CREATE s g 0 MKSTREAM|EXEC|XADD s 9-9 a b|DEL s"),
    (READ_GROUP, "MULTI|DEL s|XADD s 9-9 a b|EXEC"),
    (READ_GROUP, "MULTI|XADD s 9-9 a b|XGROUP DESTROY s g|EXEC"),
    (READ_GROUP, "MULTI|XADD s 9-9 a b|DEL s|EXEC"),
    (READ_GROUP, "EVAL \"redis.call('XADD', 's', '9-9', 'a', 'b')\" 0|DEL s"),
    (READ.replace("0", "20"), "PING"),
    (READ_GROUP.replace("0", "20"), "PING"),
]


FAILED = re.compile(rb"cmdstat_(xread(?:group)?:calls=\d+).*(,rejected_calls=\d+,failed_calls=\d+)")


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[int, int]]:
    with redis_server() as real, evio_redis.Server(port=0) as ours:
        yield real, ours.port


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize(("waiting", "then"), THEN)
def test_blocked_clients_get_the_same(both: tuple[int, int], waiting: str, then: str, protocol: int) -> None:
    real, ours = (freed(port, waiting, then, protocol) for port in both)
    assert ours == real


def freed(port: int, waiting: str, then: str, protocol: int) -> list[Any]:
    """Return the replies to the commands, to two clients that have been waiting, and which errors that is counted
    as."""
    with Wire(port) as wire, Wire(port) as first, Wire(port) as second:
        wire.ask("FLUSHALL")
        wire.ask("CONFIG RESETSTAT")
        if "GROUP" in waiting:
            wire.ask("XGROUP CREATE s g $ MKSTREAM")
        for number, blocked in enumerate((first, second), 1):
            blocked.ask(f"HELLO {protocol}")
            blocked.send(waiting.format(f"c{number}"))
            # One that waits for a bounded time may have its reply before anybody has seen it wait.
            while b"blocked_clients:%d\r" % number not in wire.ask("INFO clients"):
                if "BLOCK 20" in waiting and _has_reply(blocked):
                    break
        replies = [wire.ask(command.encode() + b"\r\n") for command in then.split("|")]
        freed = [first.reply(), second.reply()]
        failed = FAILED.findall(wire.ask("INFO commandstats"))
        return [*replies, *freed, wire.ask("INFO errorstats"), failed, wire.ask("XINFO GROUPS s")]


def _has_reply(wire: Wire) -> bool:
    return bool(select.select([wire.sock], [], [], 0)[0])


def test_unblocked_by_another_client(port: int) -> None:
    with Wire(port) as wire, Wire(port) as blocked:
        wire.ask("FLUSHALL")
        identity = blocked.ask("CLIENT ID")[1:-2].decode()
        blocked.send(READ)
        while b"blocked_clients:1\r" not in wire.ask("INFO clients"):
            pass
        assert wire.ask(f"CLIENT UNBLOCK {identity}") == b":1\r\n"
        assert blocked.reply() == b"*-1\r\n"


@each_row(
    ("before", "command", "touches"),
    [
        ("", "XADD s 9-1 a b", True),
        ("", "XTRIM s MAXLEN 1", True),
        ("", "XDEL s 1-1", True),
        ("DEL s", "XGROUP CREATE s h 0 MKSTREAM", True),
        ("", "XGROUP CREATE s h 0", False),
        ("", "XGROUP SETID s g 0", False),
        ("", "XGROUP DESTROY s g", False),
        ("", "XGROUP CREATECONSUMER s g d", False),
        ("", "XGROUP DELCONSUMER s g c", False),
        ("", "XREADGROUP GROUP g d STREAMS s >", False),
        ("", "XACK s g 1-1", False),
        ("", "XCLAIM s g d 0 1-1", False),
        ("", "XAUTOCLAIM s g d 0 0", False),
        ("", "XSETID s 9-9", False),
    ],
)
def test_what_makes_transactions_fail(port: int, before: str, command: str, touches: bool) -> None:
    """XACK and its like change nothing that WATCH knows of."""
    with Wire(port) as wire, Wire(port) as other:
        for each in ("FLUSHALL", "XADD s 1-1 a 1", "XADD s 2-1 a 1", "XGROUP CREATE s g 0"):
            wire.ask(each)
        wire.ask("XREADGROUP GROUP g c COUNT 1 STREAMS s >")
        if before:
            wire.ask(before)
        other.ask("WATCH s")
        assert not wire.ask(command).startswith(b"-")
        other.ask("MULTI")
        other.ask("PING")
        assert (other.ask("EXEC") == b"*-1\r\n") == touches


def test_notifications(port: int) -> None:
    commands = [
        *("XADD s 1-1 a b", "XADD s MAXLEN 1 2-1 a b", "XADD s 3-1 a b", "XTRIM s MAXLEN 1", "XDEL s 3-1"),
        *("XSETID s 9-1", "XGROUP CREATE s g 0", "XGROUP CREATECONSUMER s g c", "XGROUP SETID s g 5"),
        *("XADD s 10-1 a b", "XREADGROUP GROUP g d STREAMS s >", "XCLAIM s g e 0 10-1", "XAUTOCLAIM s g f 0 0"),
        *("XREADGROUP GROUP g h STREAMS s 0", "XACK s g 10-1", "XGROUP DELCONSUMER s g c", "XGROUP DESTROY s g"),
        "DEL s",
    ]
    with Wire(port) as wire, Wire(port) as listener:
        wire.ask("FLUSHALL")
        wire.ask("CONFIG SET notify-keyspace-events KA")
        listener.ask("SUBSCRIBE __keyspace@0__:s")
        for command in commands:
            assert not wire.ask(command).startswith(b"-"), command
        wire.ask("CONFIG SET notify-keyspace-events ''")
        heard: list[str] = []
        while heard[-1:] != ["del"]:
            heard.append(listener.reply().split(b"\r\n")[-2].decode())
    assert heard == [
        *("xadd", "xadd", "xtrim", "xadd", "xtrim", "xdel", "xsetid", "xgroup-create", "xgroup-createconsumer"),
        *("xgroup-setid", "xadd", "xgroup-createconsumer", "xgroup-createconsumer", "xgroup-createconsumer"),
        *("xgroup-createconsumer", "xgroup-delconsumer", "xgroup-destroy", "del"),
    ]


def test_ids_that_the_server_makes(port: int) -> None:
    with Wire(port) as wire:
        wire.ask("FLUSHALL")
        ids = [wire.ask("XADD s * a b") for _ in range(50)]
        seconds, fraction = (int(part) for part in hiredis_reply(wire.ask("TIME")))
        now = seconds * 1000 + fraction // 1000
        made = [to_id(reply.split(b"\r\n")[1]) or 0 for reply in ids]
        assert made == sorted(set(made))
        assert all(now - 20_000 < each >> 64 <= now for each in made)
        wire.ask("XADD s 99999999999999-7 a b")
        assert wire.ask("XADD s * a b") == b"$16\r\n99999999999999-8\r\n"


def hiredis_reply(encoded: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(encoded)
    reply: list[bytes] = reader.gets()
    return reply


# -- the data structure


def filled(ids: list[int], most_entries: int = 100) -> Stream:
    stream = Stream()
    for entry_id in ids:
        stream.append(entry_id, [b"id", b"%d" % entry_id], 4096, most_entries)
    return stream


@pytest.mark.parametrize("most_entries", [1, 3, 100])
def test_ranges_of_what_was_added_and_deleted(most_entries: int) -> None:
    """Beside a sorted list, with IDs that need every width of the arrays."""
    draw = random.Random(most_entries)
    ids: list[int] = []
    last = 0
    for _ in range(400):
        step = draw.choice([1, 2, 300, 70_000, 1 << 33, 1 << 64, 300 << 64, 70_000 << 64, 1 << 97])
        last += step
        ids.append(last)
    stream = filled(ids, most_entries)
    for entry_id in draw.sample(ids, 150):
        assert stream.delete(entry_id)
        assert not stream.delete(entry_id)
        ids.remove(entry_id)
    assert (stream.first_id, stream.last_entry_id, stream.length) == (ids[0], ids[-1], len(ids))
    for _ in range(500):
        start, stop = (draw.choice([draw.choice(ids) + draw.choice([-1, 0, 1]), 0, LAST]) for _ in range(2))
        count = draw.choice([None, 1, 7, 150])
        expected = [each for each in ids if start <= each <= stop]
        assert [entry_id for entry_id, _ in stream.items(start, stop, count)] == expected[:count]
        backwards = [entry_id for entry_id, _ in stream.items(start, stop, count, backwards=True)]
        assert backwards == expected[::-1][:count]
    for entry_id, body in stream.items():
        assert parse_body(body) == [b"id", b"%d" % entry_id]
    copied = stream.copy()
    assert copied.trim_below(ids[100], approximately=False, limit=0) == 100
    assert copied.trim_to(10, approximately=False, limit=0) == len(ids) - 110
    assert [entry_id for entry_id, _ in copied.items()] == ids[-10:]
    assert [entry_id for entry_id, _ in stream.items()] == ids


@each_row("value", [b"", b"-", b"01", b"x" * 63, b"x" * 64, b"x" * 4095, b"x" * 4096, b"1" * 25])
def test_sizes_of_elements_are_those_of_a_listpack(value: bytes) -> None:
    assert element_size(value) == len(listpack.element(value))


@each_row("bits", [7, 12, 15, 23, 31, 63])
def test_sizes_of_integers_are_those_of_a_listpack(bits: int) -> None:
    for number in {sign * (1 << bits) + step for sign in (1, -1) for step in (-1, 0, 1)}:
        text = b"%d" % number
        assert element_size(text) == len(listpack.element(text))


TEXTS = [b"", b"7", b"-130", b"5000", b"-40000", b"99999999", b"1" * 18, b"text", b"x" * 64, b"y" * 1024, b"z" * 5000]
FOUR = [b"a", b"b", b"c", b"d"]
NAMES = [[b"a", b"b"], [b"a", b"b"], [b"a"], [b"12", b"", b"long" * 20], [b""] * 70]


@pytest.mark.parametrize(("texts", "names"), [(TEXTS, NAMES), ([b"text"], [FOUR]), ([b"x" * 64], [FOUR])])
@pytest.mark.parametrize("far", [[0], [0, 1, 90, 70_000], [0, 1 << 34]])
def test_nodes_know_their_size_as_a_listpack(texts: list[bytes], names: list[list[bytes]], far: list[int]) -> None:
    """From entry to entry they only know what it is at most, which must not be too little."""
    draw, stream, last = random.Random(3), Stream(), 5 << 64 | 300
    for number in range(120):
        step = draw.choice(far)
        last = (last >> 64) + step << 64 if step else last + 1
        words = [part for name in draw.choice(names) for part in (name, draw.choice(texts))]
        stream.append(last, words, 0, 1000)
        if number % 10 == 9:
            (node,) = stream.nodes
            size = len(Reader(list(stream_pieces(stream))[2]).string())
            assert not node.has_room(size)
            assert node.has_room(size + 1)


def test_a_million_entries_need_no_more_than_four_times_what_redis_needs() -> None:
    """Redis takes 16 bytes for each of these (measured); a tenth of them is enough to know."""
    stream = Stream()
    for number in range(100_000):
        stream.append(1_700_000_000_000 + 3 * number << 64, [b"temp", b"21", b"hum", b"40"], 4096, 100)
    assert stream.size(0) / stream.length < 4 * 16


HIGHEST = 2**63 - 1


def test_counters_end_at_the_highest_number_that_replies_and_commands_have(tmp_path: Path) -> None:
    """Also if they are set to that by commands, or come higher from a payload."""
    stream = filled([1 << 64])
    stream.added = 2**64 - 1
    group = stream.groups[b"g"] = Group(1 << 64, 2**64 - 2)
    consumer = group.consumers[b"c"] = Consumer(b"c", -(2**63))
    group.give(1 << 64, consumer, -(2**63), 1)
    group.pending.deliveries[1 << 64].count = 2**64 - 1
    settings: dict[str, Any] = {"dir": str(tmp_path), "appendonly": "yes", "aof_use_rdb_preamble": "no"}
    with evio_redis.Server(port=0, **settings) as server, redis.Redis(port=server.port) as client:
        client.restore("s", 0, payload.pack(stream, server.config))
        client.xadd("t", {"f": "v"}, "1-1")
        client.execute_command("XSETID", "t", "1-1", "ENTRIESADDED", HIGHEST)
        client.execute_command("XGROUP", "CREATE", "t", "g", "0", "ENTRIESREAD", HIGHEST)
        client.xreadgroup("g", "c", {"t": ">"})
        client.execute_command("XCLAIM", "t", "g", "c", 0, "1-1", "RETRYCOUNT", HIGHEST)
        for key in ("s", "t"):
            client.xadd(key, {"f": "v"}, "2-1")
            client.xreadgroup("g", "c", {key: ">"})
            client.xreadgroup("g", "c", {key: "0"})
            client.xclaim(key, "g", "c", 0, ["1-0", "1-1"])
            client.xautoclaim(key, "g", "c", 0)
            assert client.xinfo_stream(key)["entries-added"] == HIGHEST
            assert client.xinfo_groups(key)[0]["entries-read"] == HIGHEST
            assert client.xpending_range(key, "g", "-", "+", 1)[0]["times_delivered"] == HIGHEST
            assert client.xinfo_consumers(key, "g")[0]["idle"] >= 0
        client.bgrewriteaof()
        assert eventually(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        expected = [client.xinfo_groups(key) for key in ("s", "t")]
    with evio_redis.Server(port=0, **settings) as server, redis.Redis(port=server.port) as client:
        assert [client.xinfo_groups(key) for key in ("s", "t")] == expected


def test_a_log_has_the_highest_deleted_id_also_above_the_last_one() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire, redis_server() as real, Wire(real) as other:
        for command in ("XADD s 1-1 f v", "XADD s 5-1 f v", "XDEL s 5-1", "XGROUP CREATE s g 1-1", "XSETID s 2-1"):
            assert not wire.ask(command).startswith(b"-")
        expected = wire.ask("XINFO STREAM s FULL")
        log = list(commands_of(server.keyspace.databases))
        wire.ask("FLUSHALL")
        for args in log:
            assert not wire.ask(args).startswith(b"-"), args
            assert not other.ask(args).startswith(b"-"), args
        assert wire.ask("XINFO STREAM s FULL") == expected
        assert other.ask("XINFO STREAM s FULL") == expected


def test_pending_entries_are_in_order_whatever_happens_to_them() -> None:
    draw = random.Random(5)
    group, expected = Group(0, 0), set()
    consumers = [Consumer(b"c%d" % number, 0) for number in range(3)]
    for step in range(9000):
        entry_id = draw.randrange(6000)
        if draw.random() < 0.7:
            group.give(entry_id, draw.choice(consumers), step, 1)
            expected.add(entry_id)
        else:
            assert group.acknowledge(entry_id) == (entry_id in expected)
            expected.discard(entry_id)
        if step % 1000 == 0:
            assert list(group.pending.ids()) == sorted(expected)
            assert sorted(each for one in consumers for each in one.pending.ids()) == sorted(expected)
    assert list(group.pending.ids(3000)) == sorted(each for each in expected if each >= 3000)
    assert (group.pending.first(), group.pending.last()) == (min(expected), max(expected))
