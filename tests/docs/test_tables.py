"""The generated tables know every command there is, and say of none what is no longer true."""

from __future__ import annotations

import json
from pathlib import Path

from docs import tables
from evio_redis.model.command import Registry
from tests.redis.wire import redis_server
from tools import redis_facts


def names() -> set[str]:
    return {tables.shown(each.name) for each in Registry().all()}


def test_every_command_of_redis_is_in_the_table_and_said_to_be_missing_if_it_is() -> None:
    text = tables.redis_commands()
    for name in tables.REDIS_COMMANDS:
        missing = "**not there**" in text.split(f"| `{tables.shown(name)}` |")[1].partition("\n")[0]
        assert missing == (tables.shown(name) not in names()), name


def test_what_differs_is_said_of_commands_that_are_there() -> None:
    assert tables.DIFFERENCES.keys() <= names()


def test_the_names_are_those_of_a_real_server() -> None:
    with redis_server() as port:
        docs = redis_facts.ask(port, "COMMAND", "DOCS")
        found: dict[str, str] = {}
        for row in redis_facts.ask(port, "COMMAND"):
            found |= redis_facts.groups(row, docs[row[redis_facts.NAME]])
    assert found == json.loads(redis_facts.NAMES.read_text())


def test_the_gallery_is_what_the_readmes_begin_with(tmp_path: Path) -> None:
    for name in ("chat", "broker"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(f"# A {name}\n\nIt does\nthis.\n\n## More\n\nText.\n")
    (tmp_path / "site").mkdir()
    entries = [f"## A {name}\n\nIt does\nthis.\n\n`examples/{name}/`" for name in ("broker", "chat")]
    assert tables.gallery(tmp_path) == "\n\n".join(entries)


def test_every_example_has_a_title_and_a_paragraph() -> None:
    for readme in tables.EXAMPLES.glob("*/README.md"):
        title, paragraph, *_ = readme.read_text().strip().split("\n\n")
        assert title.startswith("# "), readme
        assert paragraph[:1] not in " `#-|", readme
