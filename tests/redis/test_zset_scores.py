"""Scores at the edge: infinities that cancel out in unions and intersections, and minus zero."""

from __future__ import annotations

import pytest

from .transcripts import Conversation, check, conversations

TRANSCRIPT = r"""
ZADD foo inf x -> :1
ZADD foo2 inf x -> :1
ZINTERSTORE bar 2 foo foo2 WEIGHTS 1 0 -> :1
ZSCORE bar x -> $1 0 | ,0
ZINTERSTORE bar 2 foo foo2 WEIGHTS 0 1 -> :1
ZSCORE bar x -> $3 inf | ,inf
ZINTER 2 foo foo2 WEIGHTS 1 0 AGGREGATE MIN WITHSCORES -> *2 $1 x $3 inf | *1 *2 $1 x ,inf
ZINTER 2 foo foo2 WEIGHTS 1 0 AGGREGATE MAX WITHSCORES -> *2 $1 x $3 inf | *1 *2 $1 x ,inf
ZUNION 2 foo foo2 WEIGHTS 1 0 AGGREGATE MIN WITHSCORES -> *2 $1 x $1 0 | *1 *2 $1 x ,0
ZUNION 2 foo foo2 WEIGHTS 0 1 AGGREGATE MAX WITHSCORES -> *2 $1 x $3 inf | *1 *2 $1 x ,inf
ZUNION 2 foo foo2 WEIGHTS 1 0 WITHSCORES -> *2 $1 x $3 inf | *1 *2 $1 x ,inf

ZADD foo inf e1 -> :1
ZADD bar -inf e1 0 e2 -> :2
ZUNIONSTORE baz 3 foo bar foo -> :2
ZSCORE baz e1 -> $1 0 | ,0
ZUNION 3 foo bar foo WITHSCORES -> *4 $2 e1 $1 0 $2 e2 $1 0 | *2 *2 $2 e1 ,0 *2 $2 e2 ,0
ZINTER 3 foo bar foo WITHSCORES -> *2 $2 e1 $1 0 | *1 *2 $2 e1 ,0
ZINTER 3 bar foo foo WITHSCORES WEIGHTS 1 2 3 -> *2 $2 e1 $1 0 | *1 *2 $2 e1 ,0

ZADD z -0 m -> :1
ZSCORE z m -> $1 0 | ,0
ZMSCORE z m -> *1 $1 0 | *1 ,0
ZRANGE z 0 -1 WITHSCORES -> *2 $1 m $1 0 | *1 *2 $1 m ,0
ZUNIONSTORE zd 1 z WEIGHTS 1 -> :1
ZSCORE zd m -> $1 0 | ,0
ZUNIONSTORE zd 1 z WEIGHTS -1 -> :1
ZSCORE zd m -> $1 0 | ,0
ZUNION 1 z WEIGHTS -1 WITHSCORES -> *2 $1 m $2 -0 | *1 *2 $1 m ,-0
ZADD z INCR -0 q -> $2 -0 | ,-0
ZINCRBY z -0 r -> $2 -0 | ,-0
ZINCRBY z -0 r -> $1 0 | ,0
ZSCORE z r -> $1 0 | ,0
ZADD z 1 m -> :0
ZADD z CH -0 m -> :1
ZSCORE z m -> $1 0 | ,0
ZADD w 1 a -> :1
ZADD w INCR -1 a -> $1 0 | ,0
ZRANGESTORE d z 0 -1 -> :3
ZRANGE d 0 -1 WITHSCORES -> *6 $1 m $1 0 $1 q $1 0 $1 r $1 0 | *3 *2 $1 m ,0 *2 $1 q ,0 *2 $1 r ,0
CONFIG SET zset-max-listpack-entries 0 -> +OK
ZADD big -0 m -> :1
ZSCORE big m -> $2 -0 | ,-0
ZADD big CH 0 m -> :0
ZSCORE big m -> $2 -0 | ,-0
ZUNIONSTORE bd 1 z WEIGHTS -1 -> :3
ZRANGE bd 0 -1 WITHSCORES -> *6 $1 m $2 -0 $1 q $2 -0 $1 r $2 -0 | *3 *2 $1 m ,-0 *2 $1 q ,-0 *2 $1 r ,-0
COPY big big2 -> :1
ZSCORE big2 m -> $2 -0 | ,-0
CONFIG SET zset-max-listpack-entries 128 -> +OK
ZADD big 1 n -> :1
ZSCORE big m -> $2 -0 | ,-0
ZADD s 1 a -0 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" -> :2
ZRANGE s 0 -1 WITHSCORES -> *4 $87
  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa $2 -0 $1 a $1 1 | *2 *2 $87
  aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ,-0 *2 $1 a ,1
SADD set a b -> :2
ZADD zz 2 a -> :1
ZUNION 2 set zz WITHSCORES -> *4 $1 b $1 1 $1 a $1 3 | *2 *2 $1 b ,1 *2 $1 a ,3
ZINTER 2 zz set WITHSCORES AGGREGATE MIN -> *2 $1 a $1 1 | *1 *2 $1 a ,1
GEOADD g -0 -0 x -> :1
ZSCORE g x -> $16 3377699720527872 | ,3377699720527872
"""


@pytest.mark.parametrize("group", conversations(TRANSCRIPT))
def test_scores_at_the_edge(port: int, group: list[Conversation]) -> None:
    check(port, group)
