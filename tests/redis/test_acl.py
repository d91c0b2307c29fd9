"""Users and their rules, as redis-server has them: what is shown, what is allowed, what is denied and logged."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest
import redis
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

import evio_redis
from evio_redis.config.config import Config
from evio_redis.model.command import Registry

from .transcripts import shown
from .wire import Wire, redis_server, typed

EXAMPLES = int(os.environ.get("EVIO_DIFFERENTIAL_EXAMPLES", "40"))
PASSWORD = "148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940"  # of "p"

VARIES = (
    (re.compile(r"client-info \$\d+ id=.*?(cmd=\S+ user=\S*) redir=-1 resp=\d(?: lib-name= lib-ver=)?"), r"client \1"),
    (re.compile(r"age-seconds (\$\d+ |,)[0-9.e-]+"), "age"),
    (re.compile(r"\bid :\d+"), "id"),
)


def steady(reply: str) -> str:
    """A reply without what differs from one connection, and one moment, to the next."""
    for pattern, instead in VARIES:
        reply = pattern.sub(instead, reply)
    return reply


def converse(port: int, lines: list[str], protocol: int) -> list[str]:
    """Return the replies to ``name: COMMAND``, each name a client of its own, of a server with a default user only."""
    clients: dict[str, Wire] = {}
    with Wire(port) as first:
        if b"NOAUTH" in first.ask("ACL SETUSER admin on >admin +@all ~* &*"):
            first.ask("AUTH admin admin")
        first.ask("ACL SETUSER default reset on nopass +@all ~* &*")
        names = hiredis_reply(first.ask("ACL USERS"))
        first.ask(["ACL", "DELUSER", *(name for name in names if name not in (b"default", b"admin")), "nobody"])
        for command in ("ACL LOG RESET", "FLUSHALL", ["CONFIG", "SET", "requirepass", ""]):
            first.ask(command)
    replies = []
    try:
        for line in lines:
            name, _, command = line.partition(": ")
            if name not in clients:
                clients[name] = Wire(port)
                clients[name].ask(f"HELLO {protocol}")
            if command == "is closed":
                with clients.pop(name) as wire:
                    replies.append(f"{line}: {wire.rest()!r}")
                continue
            reply = clients[name].ask(typed(command.encode()))
            replies.append(f"{line} -> {steady(shown(reply))}")
        return replies
    finally:
        for wire in clients.values():
            wire.close()


def hiredis_reply(reply: bytes) -> list[bytes]:
    reader = hiredis.Reader()
    reader.feed(reply)
    found: list[bytes] = reader.gets()
    return found


@pytest.fixture(scope="module")
def real() -> Iterator[int]:
    with redis_server() as port:
        yield port


@pytest.fixture(scope="module")
def ours() -> Iterator[int]:
    with evio_redis.Server(port=0) as server:
        yield server.port


CONVERSATIONS = r"""
a: ACL GETUSER default
a: ACL SETUSER a
a: ACL GETUSER a
a: ACL SETUSER b +@all
a: ACL SETUSER c +get +get -get +set|x +@hash -@hash +hget -hget
a: ACL GETUSER c
a: ACL SETUSER d +@read -get +get +@write -@write
a: ACL GETUSER d
a: ACL SETUSER e +@string +get -@string
a: ACL GETUSER e
a: ACL SETUSER f -@all +client|id +client|list +client -client|id
a: ACL GETUSER f
a: ACL SETUSER g +@all -client|kill -client +client|id
a: ACL GETUSER g
a: ACL SETUSER g +client|id|x
a: ACL SETUSER g -client|nosuch
a: ACL SETUSER g +client|nosuch
a: ACL SETUSER g +get|foo +get|bar
a: ACL GETUSER g
a: ACL SETUSER g -get|foo
a: ACL SETUSER g +nosuch
a: ACL SETUSER g +@nosuch
a: ACL SETUSER g +@
a: ACL SETUSER g +
a: ACL SETUSER g foo
a: ACL SETUSER g ~* ~a
a: ACL SETUSER g resetkeys ~a ~a %R~b %W~c %RW~d %WR~e %~f %X~z
a: ACL SETUSER g resetkeys ~a ~a %R~b %W~c %RW~d %WR~e
a: ACL GETUSER g
a: ACL SETUSER g &* &a
a: ACL SETUSER g resetchannels &a &a &b
a: ACL SETUSER g >x >y >x #abc
a: ACL SETUSER g >x >y >x
a: ACL SETUSER g <z
a: ACL SETUSER g !abc
a: ACL SETUSER g #ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD
a: ACL SETUSER g (~x +get) "(%R~y &c -@all +set )"
a: ACL GETUSER g
a: ACL SETUSER g "(~x"
a: ACL SETUSER g "(~x on)"
a: ACL SETUSER g "(~x >pass)"
a: ACL SETUSER g "(foo)"
a: ACL SETUSER g "()"
a: ACL SETUSER g ~x)
a: ACL SETUSER g clearselectors
a: ACL SETUSER g reset
a: ACL GETUSER g
a: ACL SETUSER "a b" on
a: ACL SETUSER "" on
a: ACL GETUSER nosuch
a: ACL USERS
a: ACL WHOAMI
a: ACL CAT
a: ACL CAT nosuch
a: ACL DELUSER default
a: ACL DELUSER a nosuch b
a: ACL GENPASS 0
a: ACL GENPASS 4097
a: ACL GENPASS x
a: ACL GENPASS -1
a: ACL LOG
a: ACL LOG RESET
a: ACL LOG 5
a: ACL LOG x
a: ACL LOG -1
a: ACL LOG 1 2
a: ACL SAVE
a: ACL LOAD
a: ACL NOSUCH
a: ACL
a: ACL WHOAMI x
a: ACL DRYRUN nosuch get x
a: ACL DRYRUN default get
a: ACL DRYRUN default nosuch
a: ACL DRYRUN default get x
a: ACL SETUSER h +set +get ~a %R~b +client|id &ch
a: ACL DRYRUN h get x
a: ACL DRYRUN h get a
a: ACL DRYRUN h set b 1
a: ACL DRYRUN h get b
a: ACL DRYRUN h mget a
a: ACL DRYRUN h client kill
a: ACL DRYRUN h client kill x
a: ACL DRYRUN h client nosuch
a: ACL DRYRUN h client id
a: ACL DRYRUN h publish x y
a: ACL SETUSER h +publish +subscribe +psubscribe
a: ACL DRYRUN h publish x y
a: ACL DRYRUN h publish ch y
a: ACL DRYRUN h subscribe ch y
a: ACL DRYRUN h psubscribe ch*
a: ACL DRYRUN h psubscribe ch
a: ACL DRYRUN h
a: ACL DRYRUN
a: CONFIG GET requirepass
a: CONFIG SET acl-pubsub-default foo
a: CONFIG SET aclfile x
a: CONFIG SET user x
a: CONFIG GET user

a: ACL SETUSER u on >p ~a* %R~r* %W~w* &ch* +get +set +mget +ping +publish +subscribe
  +psubscribe +eval +multi +exec +copy +sort +hello +client|id +exists +ssubscribe +spublish +bitfield
  +acl|whoami +object|encoding +discard
a: AUTH u p
a: ACL WHOAMI
a: GET x
a: SET r1 1
a: SET w1 1
a: GET w1
a: SET w1 get
a: SET w1 1 get
a: GET r1
a: SET w1 1 GET
a: MGET a r1 w1
a: INCR a
a: CLIENT KILL x
a: CLIENT NOSUCH
a: CLIENT
a: NOSUCH
a: GET
a: EXISTS w1
a: EXISTS zz
a: COPY r1 w1
a: COPY w1 r1
a: SORT a BY x*
a: SORT a BY nosort
a: SORT a GET x*
a: SORT a GET #
a: SORT a STORE w1
a: SORT a STORE r1
a: PUBLISH x y
a: PUBLISH ch1 y
a: SSUBSCRIBE x
a: SPUBLISH x y
a: SUBSCRIBE ch1 x
a: PSUBSCRIBE ch*
a: PSUBSCRIBE ch1*
a: PUNSUBSCRIBE
a: RESET
a: AUTH u p
a: BITFIELD r1 GET u8 0
a: BITFIELD r1 SET u8 0 1
a: EVAL "return redis.call('incr', 'a')" 0
a: EVAL "return redis.call('get', 'x')" 0
a: EVAL "return redis.pcall('get', 'x')" 0
a: EVAL "return redis.call('publish', 'x', 'y')" 0
a: EVAL "return redis.call('client', 'kill', 'y')" 0
a: EVAL "return redis.acl_check_cmd('get','x')" 0
a: EVAL "return redis.acl_check_cmd('get','a')" 0
a: EVAL "return redis.acl_check_cmd('nosuch','a')" 0
a: EVAL "return 1" 1 x
a: EVAL "return 1" 1 r1
a: EVAL "return 1" 1 a
a: MULTI
a: INCR a
a: GET a
a: EXEC
a: MULTI
a: GET x
a: EXEC
a: AUTH u bad
a: AUTH nosuch p
a: AUTH default x
a: AUTH x
a: HELLO 3 AUTH u bad
a: HELLO 3 AUTH u p
a: HELLO 2
a: OBJECT ENCODING x
a: OBJECT FREQ a
a: AUTH default ""
a: ACL LOG 100
a: ACL LOG RESET
a: ACL SETUSER u resetpass nopass
a: AUTH u anything
a: AUTH default anything
a: ACL SETUSER u off
a: AUTH u anything
a: CLIENT KILL USER nosuch
a: CLIENT KILL USER u
a: ACL SETUSER default >foo
a: CONFIG GET requirepass
a: ACL GETUSER default
a: ACL SETUSER default nopass
a: CONFIG SET requirepass bar
a: ACL GETUSER default
a: CONFIG SET requirepass ""
a: ACL GETUSER default

a: ACL SETUSER u on nopass +@all -@dangerous ~k* &c*
b: AUTH u x
b: SUBSCRIBE c1
c: AUTH u x
c: PSUBSCRIBE c*
d: AUTH u x
a: ACL SETUSER u &d*
d: PING
a: ACL SETUSER u resetchannels &d*
b: is closed
c: is closed
d: GET k
d: MULTI
d: GET k
d: SET k 1
d: PUBLISH d x
a: ACL SETUSER u resetkeys resetchannels ~l* -set
d: EXEC
d: ACL WHOAMI
a: ACL DELUSER u
d: is closed
a: ACL LOG

a: ACL SETUSER default -@all +get ~k +acl
a: GET k
a: GET l
a: SET k 1
b: GET k
b: PING
b: HELLO 3
b: MULTI
b: ACL SETUSER default +@all ~*
b: PING
b: SET l 1
a: ACL SETUSER default off
a: GET l
c: PING
c: AUTH default x
a: ACL SETUSER default on >p
d: PING
d: AUTH q
d: AUTH p
d: HELLO 2 AUTH default q
d: HELLO 2 AUTH default p SETNAME me
d: RESET
d: PING
d: AUTH default p
d: ACL WHOAMI
d: ACL LOG

a: ACL SETUSER v on >p +@all -acl ~* &*
a: AUTH v p
a: ACL WHOAMI
a: ACL
a: ACL NOSUCH
a: CLIENT LIST ID 0
a: RESET
a: ACL WHOAMI
a: AUTH a b c
a: AUTH
a: CLIENT KILL USER v
b: AUTH v p
a: CLIENT KILL USER v
b: is closed
a: COMMAND LIST FILTERBY ACLCAT nosuch
a: ACL SETUSER v -@all (+get ~a) (+get ~b)
b: AUTH v p
b: MGET a b
b: GET a
b: GET c
a: ACL DRYRUN v get c
a: ACL SETUSER v (+mget +get ~a ~b)
b: MGET a b
a: ACL LOG
a: ACL SETUSER v reset
b: GET a
b: AUTH v p
a: ACL LOG 1
a: ACL SETUSER w on nopass -@all +select|1 +eval ~*
b: AUTH w x
b: SELECT 1
b: SELECT 0
b: SELECT
b: EVAL "redis.call('select', 1); return redis.pcall('select', 0)" 0
b: EVAL "redis.call('set', 'a', 1)" 0
a: ACL LOG

a: ACL SETUSER u on nopass ~k* +fcall +function +get +set +fcall_ro
a: FUNCTION LOAD "#!lua name=mylib\nredis.register_function('f', function(keys, args) return
  redis.call('get', args[1]) end)\nredis.register_function{function_name='r', callback=function(keys,
  args) return redis.call('get', keys[1]) end, flags={'no-writes'}}"
a: AUTH u x
a: FCALL f 0 k1
a: FCALL f 0 x
a: FCALL f 0 x
a: FCALL f 1 x k1
a: FCALL r 1 k1
a: FCALL_RO r 1 k1
a: FCALL_RO r 1 x
a: FUNCTION DELETE mylib
a: AUTH default x
a: ACL LOG
"""


@pytest.mark.parametrize("protocol", [2, 3], ids=["resp2", "resp3"])
@pytest.mark.parametrize(
    "text", CONVERSATIONS.strip().replace("\n  ", " ").split("\n\n"), ids=lambda text: text.split("\n")[0][:70]
)
def test_replies_are_the_same(real: int, ours: int, text: str, protocol: int) -> None:
    lines = text.splitlines()
    assert converse(ours, lines, protocol) == converse(real, lines, protocol)


# -- any rules

COMMANDS = ["get", "set", "mget", "hset", "client", "client|id", "client|kill", "config", "config|get", "acl|whoami"]
COMMANDS += ["select", "eval", "publish", "subscribe", "psubscribe", "sort", "object|encoding", "xadd", "xread", "wait"]
COMMANDS += ["replicaof", "migrate", "cluster|info", "debug", "flushall", "ping", "auth", "hello", "multi", "exec"]
CATEGORIES = ["keyspace", "read", "write", "set", "sortedset", "list", "hash", "string", "bitmap", "hyperloglog", "geo"]
CATEGORIES += ["stream", "pubsub", "admin", "fast", "slow", "blocking", "dangerous", "connection", "transaction"]
CATEGORIES += ["scripting", "all", "nosuch"]
sign = st.sampled_from(["+", "-"])
pattern = st.sampled_from(["*", "k", "k*", "?", "[a-k]", "ch", "ch*", "x y", ""])
rule = st.one_of(
    st.tuples(sign, st.sampled_from(COMMANDS)).map("".join),
    st.tuples(sign, st.sampled_from(CATEGORIES)).map("@".join),
    st.tuples(st.sampled_from(["~", "%R~", "%W~", "%RW~", "%r~", "%wr~", "%~", "&", "%x~"]), pattern).map("".join),
    st.sampled_from(["allkeys", "resetkeys", "allchannels", "resetchannels", "allcommands", "nocommands", "reset"]),
    st.sampled_from(["on", "off", ">p", ">q", "<p", f"#{PASSWORD}", f"!{PASSWORD}", "nopass", "resetpass", "foo", ""]),
    st.sampled_from(
        ["+select|0", "+select|1", "+get|x", "+client|id|x", "+set|", "clearselectors", "sanitize-payload"]
    ),
    st.sampled_from(["(~k +get)", "(+set %W~k*)", "(+@all ~* &*)", "(&ch +publish +subscribe)", "(foo)", "(on)"]),
)
call = st.sampled_from(
    [
        *("GET k", "SET k v", "SET k v GET", "MGET k kk z", "HSET k f v", "CLIENT ID", "CLIENT KILL x:1", "SELECT 0"),
        *("SELECT 1", "PUBLISH ch m", "PUBLISH x m", "SUBSCRIBE ch k", "PSUBSCRIBE ch*", "PSUBSCRIBE ch", "PING"),
        *(
            "SORT k STORE kk",
            "SORT_RO k BY x*",
            "COPY k kk",
            "RENAME z k",
            "EXISTS z",
            "TYPE k",
            "DEL k",
            "OBJECT HELP",
        ),
        *("OBJECT ENCODING k", "XADD k * f v", "XREAD STREAMS k z 0 0", "BITFIELD k GET u8 0", "BITFIELD k SET u8 0 1"),
        *("EVAL x 1 k", "EVAL x 0", "FLUSHALL", "ACL WHOAMI", "CONFIG GET x", "MULTI", "GET", "NOSUCH", "AUTH x"),
        *("ZUNIONSTORE k 2 z kk", "LMPOP 2 k z LEFT", "GEORADIUS k 1 1 1 m STORE z", "SPUBLISH ch m", "DEBUG SLEEP 0"),
        *("SINTERCARD 2 k z", "PFCOUNT k", "PFMERGE k z", "GETEX k", "LINDEX k 0", "ZADD k 1 m", "INCR k", "KEYS *"),
        *("BLPOP k z 0", "LMOVE k z LEFT RIGHT", "SMOVE k z m", "BITOP AND k z", "RANDOMKEY", "SCAN 0", "TOUCH k"),
    ]
)


def shown_rules(reply: bytes) -> str:
    """A user's rules, those about single commands, whose order is left to chance in Redis, in order."""

    def ordered(found: re.Match[str]) -> str:
        words = found[0].split()
        return " ".join([*(word for word in words if "@" in word), *sorted(word for word in words if "@" not in word)])

    return re.sub(r"[+-]@all(?: [+-][^ )]+)*", ordered, shown(reply))


@pytest.mark.timeout(3600)
def test_any_rules_are_shown_and_mean_the_same(real: int, ours: int) -> None:
    with Wire(real) as expected, Wire(ours) as got:

        @settings(
            max_examples=EXAMPLES * 5,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        )
        @example(["+@all", "-get", "+get", "~*", "&*"], ["GET k"])
        @given(st.lists(rule, min_size=1, max_size=12), st.lists(call, min_size=1, max_size=12))
        def compare(rules: list[str], calls: list[str]) -> None:
            both = (expected, got)
            for wire in both:
                wire.ask("ACL DELUSER u")
                wire.ask("ACL SETUSER u on")
            for each in rules:
                one, other = (shown(wire.ask(["ACL", "SETUSER", "u", each])) for wire in both)
                assert other == one
            one, other = (shown_rules(wire.ask("ACL GETUSER u")) for wire in both)
            assert other == one
            one, other = (shown_rules(wire.ask("ACL LIST")) for wire in both)
            assert other == one
            for each in calls:
                one, other = (shown(wire.ask(f"ACL DRYRUN u {each}")) for wire in both)
                assert other == one, each

        compare()


def test_every_command_needs_what_it_needs_in_redis(real: int, ours: int) -> None:
    """For each command: whether reading or writing permission is asked for."""
    with Wire(real) as expected, Wire(ours) as got:
        both = (expected, got)
        for wire in both:
            for mode in ("R", "W"):
                wire.ask(f"ACL SETUSER only{mode} reset on +@all %{mode}~k* %R~r* %W~w*")
        calls = [each.split() for each in AT_OTHER_PLACES]
        for top in Registry().commands.values():
            for each in (top, *top.subcommands.values()):
                if each.keys[0] and each.get_keys is None:
                    size = abs(each.arity) + (each.arity < 0)  # PFMERGE of one key asks for nothing
                    words = each.name.split("|")
                    for first, rest in (("k1", "k2"), ("r1", "w1"), ("w1", "r1")):
                        keys = [first if at == each.keys[0] else rest for at in range(len(words), size)]
                        calls.append([*words, *keys])
        assert len(calls) > 300
        for call in calls:
            for user in ("onlyR", "onlyW"):
                one, other = (shown(wire.ask(["ACL", "DRYRUN", user, *call])) for wire in both)
                assert other == one, call


AT_OTHER_PLACES = (
    *("ZUNIONSTORE w1 1 r1", "ZUNIONSTORE w1 2 r1 w1", "ZINTERSTORE r1 1 r1", "ZDIFFSTORE w1 2 r1 r2", "ZDIFF 2 r1 w1"),
    *("ZUNION 1 r1", "ZINTER 1 w1", "ZINTERCARD 1 r1", "SINTERCARD 1 w1", "ZMPOP 1 k1 MIN", "ZMPOP 2 w1 k1 MIN"),
    *(
        "BZMPOP 0 1 k1 MIN",
        "LMPOP 1 k1 LEFT",
        "BLMPOP 0 2 k1 r1 LEFT",
        "EVAL x 1 k1",
        "EVAL x 2 k1 r1 a",
        "EVALSHA x 0",
    ),
    *("EVAL_RO x 1 r1", "EVAL_RO x 1 w1", "EVALSHA_RO x 1 k1", "XREAD STREAMS r1 0", "XREAD COUNT 1 STREAMS w1 r1 0 0"),
    *("XREADGROUP GROUP g c STREAMS k1 >", "XREADGROUP GROUP g c STREAMS r1 >", "SORT r1", "SORT w1 STORE w1"),
    *("SORT r1 STORE w1", "GEORADIUS r1 1 1 1 m", "GEORADIUS r1 1 1 1 m STORE w1", "GEORADIUS r1 1 1 1 m STORE r1"),
    *("GEORADIUSBYMEMBER r1 a 1 m STOREDIST w1", "BITFIELD r1 GET u8 0", "BITFIELD r1 SET u8 0 1", "SET w1 1"),
    *(
        "SET w1 1 GET",
        "SET r1 1",
        "SORT_RO r1",
        "SORT_RO w1",
        "MEMORY USAGE w1",
        "OBJECT FREQ w1",
    ),
)


# -- where users are kept


def replies(port: int, *commands: str) -> list[str]:
    with Wire(port) as wire:
        return [shown(wire.ask(command)) for command in commands]


def file_of(directory: Path, text: str) -> Path:
    path = directory / "users.acl"
    path.write_text(text)
    return path


def test_the_file_of_users(tmp_path: Path) -> None:
    begin = "\nuser alice on  nopass ~a*  +get (%R~r +mget)\nuser bob on >p +@all ~* &*\n"
    wrong = "foo\nuser alice on +x\nuser\nuser a b\n# c\nuser bob on (+get foo)\nuser x off\n"
    script = (
        *("ACL LIST", "ACL SETUSER carol on %W~k", "ACL SAVE", "ACL SETUSER carol +get", "ACL LOAD", "ACL LIST"),
        *("ACL SETUSER default >q", "ACL SAVE", "ACL SETUSER default nopass", "ACL LOAD", "ACL GETUSER default"),
    )
    results = []
    for which in ("real", "ours"):
        directory = tmp_path / which
        directory.mkdir()
        path = file_of(directory, begin)
        config = directory / "redis.conf"
        config.write_text(f"aclfile {path}\n")
        if which == "real":
            with redis_server(config=str(config)) as port:
                results.append(drive(port, path, script, wrong))
        else:
            with evio_redis.Server(port=0, aclfile=str(path)) as server:
                results.append(drive(server.port, path, script, wrong))
    assert results[1] == results[0]


def drive(port: int, path: Path, script: tuple[str, ...], wrong: str) -> list[str]:
    """Load and save, with clients of users that go and stay; return all that is said and the files that are written."""
    with Wire(port) as gone, Wire(port) as stays:
        gone.ask("AUTH alice x")
        stays.ask("PING")
        said = [*replies(port, *script), path.read_text(), repr(gone.rest()), shown(stays.ask("ACL WHOAMI"))]
        assert oct(path.stat().st_mode)[-3:] == "644"
        path.write_text(wrong)
        said.append(shown(stays.ask("ACL LOAD")).replace(str(path), "FILE"))
        path.unlink()
        said.append(shown(stays.ask("ACL LOAD")).replace(str(path), "FILE"))
        return [*said, shown(stays.ask("ACL LIST"))]


def test_users_in_the_configuration(tmp_path: Path) -> None:
    rules = "user alice on nopass ~a* +get\nuser default on >p +@all ~*\nuser dora +get\n"
    script = (
        "GET a",
        "AUTH p",
        "ACL LIST",
        "SUBSCRIBE c",
        "ACL SETUSER eve on",
        "CONFIG REWRITE",
        "AUTH alice x",
        "GET a",
        "GET b",
    )
    results = []
    for which in ("real", "ours"):
        path = tmp_path / f"{which}.conf"
        path.write_text(rules)
        if which == "real":
            with redis_server(config=str(path)) as port:
                said = replies(port, *script)
        else:
            config = Config(path=str(path))
            for line in rules.splitlines():
                config.load(*line.split(" ", 1))
            config.load("port", "0")
            with evio_redis.Server(config=config) as server:
                said = replies(server.port, *script)
        results.append([*said, *sorted(line for line in path.read_text().splitlines() if line.startswith("user"))])
    assert results[1] == results[0]
    with evio_redis.Server(port=0, user=["alice on nopass ~a* +get", "bob off"]) as server:
        assert replies(server.port, "ACL USERS") == ["*3 $5 alice $3 bob $7 default"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"user": "alice on foo"}, "Error loading ACL rule 'foo' for the user named 'alice': Syntax error"),
        ({"user": "alice +nosuch"}, "Error loading ACL rule '+nosuch' for the user named 'alice': Unknown command or"),
        ({"user": "alice (+get"}, "Unmatched parenthesis in the ACL rule"),
        ({"user": ["alice on", "alice off"]}, "Duplicate user found"),
        ({"user": "alice on", "aclfile": "x"}, "Configuring Redis with users defined in redis.conf and at the same"),
        (
            {"aclfile": "/nowhere/at/all"},
            "Error loading ACLs, opening file '/nowhere/at/all': No such file or directory",
        ),
    ],
)
def test_what_makes_no_sense_is_said_at_the_start(settings: dict[str, object], message: str) -> None:
    with pytest.raises(evio_redis.ConfigError, match=re.escape(message)), evio_redis.Server(port=0, **settings):
        pass


def test_the_file_cannot_be_written(tmp_path: Path) -> None:
    path = file_of(tmp_path, "user alice on\n")
    with evio_redis.Server(port=0, aclfile=str(path)) as server:
        path.unlink()
        tmp_path.rmdir()
        (reply,) = replies(server.port, "ACL SAVE")
        assert reply.startswith("-ERR There was an error trying to save the ACLs.")


def test_channels_of_new_users_are_configured(real: int, ours: int) -> None:
    for port in (real, ours):
        said = replies(
            port,
            *("CONFIG SET acl-pubsub-default allchannels", "ACL SETUSER n", "ACL SETUSER n (+get)", "ACL LIST"),
            *("ACL SETUSER n resetchannels", "ACL SETUSER n reset", "CONFIG SET acl-pubsub-default resetchannels"),
            *("ACL LIST", "ACL SETUSER n reset", "ACL LIST", "ACL DELUSER n"),
        )
        assert [each.partition("user n ")[2].partition(" $")[0] for each in said if "user n " in each] == [
            "off &* -@all (&* -@all +get)",
            "off sanitize-payload &* -@all",
            "off sanitize-payload resetchannels -@all",
        ]


# -- secrets, costs, statistics


def test_no_password_is_shown() -> None:
    with (
        evio_redis.Server(port=0, slowlog_log_slower_than=0, slowlog_max_len=1000) as server,
        Wire(server.port) as wire,
        Wire(server.port) as monitor,
    ):
        monitor.ask("MONITOR")
        for command in (
            *("ACL SETUSER alice on >hidden1 ~* +@all", "ACL SETUSER alice >hidden2 foo", "ACL GETUSER hidden3"),
            *("ACL DELUSER hidden4", "AUTH alice hidden5", "AUTH hidden6", "HELLO 3 AUTH alice hidden7"),
            *("MULTI", "AUTH alice hidden8", "EXEC", "CONFIG SET requirepass hidden9", "AUTH alice hidden1"),
        ):
            wire.ask(command)
        wire.ask("PING")
        log = wire.ask("SLOWLOG GET -1") + wire.ask("ACL LOG 100")
        monitored = b""
        while b'"PING"' not in monitored:
            monitored += monitor.line()
        assert b"redacted" in log
        assert b"hidden" not in log
        assert b"hidden" not in monitored


def ways(server: evio_redis.Server) -> list[str | None]:
    """Return the ways that the commands of all clients take; ``user`` is one of that client's user."""
    return ["user" if each.way is each.user else str(each.way) for each in server.sessions.values()]


def test_who_may_do_everything_pays_nothing() -> None:
    with evio_redis.Server(port=0) as server, Wire(server.port) as wire, Wire(server.port) as other:
        wire.ask("PING")
        other.ask("PING")
        usual = server.dispatcher.ways
        wire.ask("ACL SETUSER alice on nopass ~a* +get +acl")
        wire.ask("ACL SETUSER bob on nopass -@all (~* &* +@all)")
        other.ask("AUTH alice x")
        assert ways(server) == ["direct", "user"]
        assert server.dispatcher.ways["direct"] is usual["direct"]
        other.ask("ACL SETUSER alice +@all")
        assert ways(server) == ["direct", "user"]
        other.ask("ACL SETUSER alice allkeys allchannels")
        assert ways(server) == ["direct", "direct"]
        other.ask("AUTH bob x")
        assert ways(server) == ["direct", "direct"]
        wire.ask("ACL SETUSER default -flushall")
        assert ways(server) == ["user", "direct"]


def test_denials_are_counted_as_rejected(real: int, ours: int) -> None:
    for port in (real, ours):
        with Wire(port) as admin, Wire(port) as wire:
            admin.ask("ACL SETUSER counted reset on nopass +get +multi +exec +eval ~k")
            admin.ask("CONFIG RESETSTAT")
            wire.ask("AUTH counted x")
            for command in (
                "GET x",
                "GET k",
                "SET k 1",
                "MULTI",
                "GET x",
                "EXEC",
                "EVAL return(redis.pcall('get','x')) 0",
            ):
                wire.ask(command)
            stats = admin.ask("INFO everything").decode()
            assert re.search(r"cmdstat_get:calls=1,.*rejected_calls=3,failed_calls=0", stats)
            assert re.search(r"cmdstat_set:calls=0,.*rejected_calls=1,failed_calls=0", stats)
            assert "errorstat_NOPERM:count=3" in stats


def test_own_commands_have_rules_too() -> None:
    server = evio_redis.Server(port=0, user=["alice on nopass ~k +greet", "bob on nopass ~* +@all -greet"])

    @server.command("GREET", arity=2, keys=(1,))
    def greet(session: evio_redis.Session, args: list[bytes]) -> bytes:
        return evio_redis.bulk(b"hello " + args[1])

    with server, Wire(server.port) as wire:
        assert shown(wire.ask("GREET x")) == "$7 hello x"
        wire.ask("AUTH alice x")
        assert shown(wire.ask("GREET k")) == "$7 hello k"
        assert wire.ask("GREET x").startswith(b"-NOPERM this user has no permissions to access one of the keys")
        wire.ask("AUTH bob x")
        assert wire.ask("GREET k").startswith(b"-NOPERM this user has no permissions to run the 'greet' command")


def test_the_log_is_not_the_business_of_users(tmp_path: Path) -> None:
    """The append-only file is loaded whatever the default user may do."""
    with evio_redis.Server(port=0, appendonly=True, dir=str(tmp_path)) as server:
        assert replies(server.port, "SET k 1") == ["+OK"]
    rules = "default on nopass -@all +get ~nothing"
    with evio_redis.Server(port=0, appendonly=True, dir=str(tmp_path), user=rules) as server:
        assert server.keyspace.databases[0].data == {b"k": b"1"}


def test_redis_py(ours: int) -> None:
    with redis.Redis(port=ours, decode_responses=True) as client:
        assert client.acl_setuser("py", enabled=True, passwords=["+secret"], commands=["+get"], keys=["a*"])
        assert client.acl_getuser("py")["keys"] == ["~a*"]
        assert "py" in client.acl_users()
        with redis.Redis(port=ours, username="py", password="secret") as other:
            assert other.get("a1") is None
            with pytest.raises(redis.exceptions.NoPermissionError):
                other.get("b")
        assert client.acl_log(1)[0]["object"] == "b"
        assert client.acl_deluser("py") == 1


@pytest.mark.parametrize("which", ["evio-redis", "redis-server"])
def test_rules_have_the_names_that_commands_had(which: str) -> None:
    with contextlib.ExitStack() as stack:
        if which == "redis-server":
            port = stack.enter_context(
                redis_server("--rename-command", "FLUSHALL", "", "--rename-command", "GET", "FETCH")
            )
        else:
            renames = 'FLUSHALL "" GET FETCH'
            port = stack.enter_context(evio_redis.Server(port=0, rename_command=renames)).port
        assert replies(port, "ACL SETUSER u on nopass ~* -@all -flushall +get", "ACL DRYRUN u fetch x") == [
            "+OK",
            "+OK",
        ]
        assert replies(port, "ACL SETUSER u +fetch")[0].startswith(
            "-ERR Error in ACL SETUSER modifier '+fetch': Unknown"
        )
        assert "user u on nopass ~* resetchannels -@all +get" in replies(port, "ACL LIST")[0]
        assert replies(port, "AUTH u x", "FETCH x", "FLUSHALL")[:2] == ["+OK", "$-1"]
