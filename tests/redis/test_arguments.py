"""Arguments that are refused, by commands and subcommands that check them themselves."""

from __future__ import annotations

import pytest

from .transcripts import Conversation, check, conversations

TRANSCRIPT = r"""
CLUSTER -> -ERR wrong number of arguments for 'cluster' command
CLUSTER INFO -> -ERR This instance has cluster support disabled
CLUSTER HELP -> -ERR This instance has cluster support disabled
CLUSTER NOSUCH -> -ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.
CLUSTER INFO x -> -ERR wrong number of arguments for 'cluster|info' command
CLUSTER KEYSLOT a -> -ERR This instance has cluster support disabled
CLUSTER SLOTS -> -ERR This instance has cluster support disabled
CLUSTER RESET HARD -> -ERR This instance has cluster support disabled
READONLY -> -ERR This instance has cluster support disabled
READONLY x -> -ERR wrong number of arguments for 'readonly' command
READWRITE -> -ERR This instance has cluster support disabled
ASKING -> -ERR This instance has cluster support disabled
EVAL "return redis.call('cluster','reset')" 0 -> -ERR This Redis command is not allowed from script script:
  c7681ef2f81993ee423ec4c83d92a422d581e560, on @user_script:1.
EVAL "return redis.call('readonly')" 0 -> -ERR This instance has cluster support disabled script:
  5c9d6df0b6ca8a98cc9c1f57ddd4452db38ef2db, on @user_script:1.
MULTI -> +OK
CLUSTER INFO -> +QUEUED
ASKING -> +QUEUED
EXEC -> *2 -ERR This instance has cluster support disabled -ERR This instance has cluster support disabled

SCRIPT FLUSH x -> -ERR SCRIPT FLUSH only support SYNC|ASYNC option
SCRIPT FLUSH ASYNC x -> -ERR SCRIPT FLUSH only support SYNC|ASYNC option
SCRIPT DEBUG -> -ERR wrong number of arguments for 'script|debug' command
SCRIPT DEBUG x -> -ERR Use SCRIPT DEBUG YES/SYNC/NO
SCRIPT HELP x -> -ERR wrong number of arguments for 'script|help' command
FUNCTION FLUSH x -> -ERR FUNCTION FLUSH only supports SYNC|ASYNC option
FUNCTION FLUSH async bad -> -ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.
FUNCTION HELP x -> -ERR wrong number of arguments for 'function|help' command
SLOWLOG GET x -> -ERR count should be greater than or equal to -1
SLOWLOG GET 1 2 -> -ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.
SLOWLOG RESET x -> -ERR wrong number of arguments for 'slowlog|reset' command
OBJECT HELP x -> -ERR wrong number of arguments for 'object|help' command
OBJECT ENCODING -> -ERR wrong number of arguments for 'object|encoding' command
OBJECT NOSUCH k -> -ERR unknown subcommand 'NOSUCH'. Try OBJECT HELP.
FLUSHALL x -> -ERR syntax error
FLUSHALL SYNC x -> -ERR syntax error
FLUSHDB x -> -ERR syntax error

HSET h a 1 b 2 -> :2
ZADD z 1 a -> :1
SADD s a -> :1
HRANDFIELD h -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and
  9223372036854775807
HRANDFIELD h -9223372036854775808 WITHVALUES -> -ERR value is out of range, value must between -9223372036854775807
  and 9223372036854775807
HRANDFIELD h 9223372036854775807 WITHVALUES -> -ERR value is out of range
HRANDFIELD h 9223372036854775807 -> *2 $1 a $1 b
HRANDFIELD h 5000000000000000000 -> *2 $1 a $1 b
HRANDFIELD h 5000000000000000000 WITHVALUES -> -ERR value is out of range
ZRANDMEMBER z 5000000000000000000 -> *1 $1 a
ZRANDMEMBER z 5000000000000000000 WITHSCORES -> -ERR value is out of range
HRANDFIELD h 5000000000000000000 WITHVALUESX -> -ERR syntax error
ZRANDMEMBER z -9223372036854775808 x -> -ERR value is out of range, value must between -9223372036854775807 and
  9223372036854775807
ZRANDMEMBER z 1 x -> -ERR syntax error
ZRANDMEMBER z x x -> -ERR value is not an integer or out of range
ZRANDMEMBER z x x 3 -> -ERR value is not an integer or out of range
ZRANDMEMBER z 3 x 3 -> -ERR syntax error
SRANDMEMBER s -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and
  9223372036854775807
SRANDMEMBER s 9223372036854775807 -> *1 $1 a
SRANDMEMBER s x y -> -ERR syntax error
SRANDMEMBER s 1 y -> -ERR syntax error
SRANDMEMBER z -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and
  9223372036854775807
HRANDFIELD z -9223372036854775808 -> -ERR value is out of range, value must between -9223372036854775807 and
  9223372036854775807
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_wrong_arguments(port: int, group: list[Conversation]) -> None:
    check(port, group)
