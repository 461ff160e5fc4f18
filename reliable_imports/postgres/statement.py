"""What a processor's SQL statement would do to the transaction or the session it runs in."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# Comments, the four kinds of quoting, and the words and semicolons between them.
_TOKEN = re.compile(
    r"""
      --[^\n]*
    | /\*.*?(?:\*/|\Z)
    | \b[eE]'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
    | (?P<end>;)
    | (?P<word>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)
_ENDS_TRANSACTION = frozenset(
    {"ABORT", "BEGIN", "COMMIT", "END", "PREPARE TRANSACTION", "RELEASE", "ROLLBACK", "SAVEPOINT", "START"}
)
_WRITES = frozenset({"DELETE", "INSERT", "MERGE", "UPDATE"})
_CALL = re.compile(r'("(?:[^"]|"")+"|[^\W\d][\w$]*)\s*\(')
# What a row is called by, or where it lies: another thing when it is written again. And a default that EXPLAIN hides.
_UNSTEADY_WORDS = re.compile(r"\b(?:xmin|xmax|cmin|cmax|ctid|default)\b|\bu&", re.IGNORECASE)
_NAME = r'(?:"(?:[^"%]|"")+"|[^\W\d][\w$]*)'
_INSERT = re.compile(
    rf"""(?P<into>\s*INSERT\s+INTO\s+(?P<table>{_NAME}(?:\s*\.\s*{_NAME})*)(?:\s+AS\s+{_NAME})?\s*)
    \(\s*(?P<columns>{_NAME}(?:\s*,\s*{_NAME})*)\s*\)\s*VALUES\s*\(""",
    re.VERBOSE | re.IGNORECASE,
)
_PROPOSED = re.compile(rf'(?:\bexcluded\b|"excluded")(?:\s*\.\s*({_NAME}))?', re.IGNORECASE)
_RETURNING = re.compile(r"\breturning\b", re.IGNORECASE)
_SESSION_WORDS = re.compile(
    r"\b(?:set_config|pg_(?:try_)?advisory_lock\w*|temp|temporary|pg_temp|pg_settings)\b", re.IGNORECASE
)
_LEAVES_SESSION_ALONE = frozenset(
    {
        "ALTER", "ANALYZE", "COMMENT", "CREATE", "DELETE", "DROP", "EXPLAIN", "GRANT", "INSERT", "LOCK",
        "MERGE", "NOTIFY", "REFRESH", "REVOKE", "SELECT", "SHOW", "TABLE", "TRUNCATE", "UPDATE", "VALUES", "WITH",
    }
)  # fmt: skip


@lru_cache(maxsize=1024)
def transaction_command(sql: str) -> str | None:
    """The first command in *sql* that would end or nest the transaction, such as `COMMIT`, or None."""
    for first, second in _commands(sql):
        for command in (first, f"{first} {second}"):
            if command in _ENDS_TRANSACTION:
                return command
    return None


@lru_cache(maxsize=1024)
def is_blind_write(sql: str, *, hides_rows: bool) -> bool:
    """Whether *sql* tells nothing but how many rows it touched, so that the server can repeat it unnoticed.

    Args:
        hides_rows: nobody sees the rows that it may return.
    """
    return (hides_rows or not _RETURNING.search(sql)) and all(first in _WRITES for first, _ in _commands(sql))


def is_one_write(sql: str) -> bool:
    """Whether *sql* is one statement that writes, with or without RETURNING."""
    commands = _commands(sql)
    return len(commands) == 1 and commands[0][0] in _WRITES


def calls_of(sql: str) -> frozenset[str] | None:
    """The names of all functions that *sql* calls, and others that are followed by a parenthesis.

    None if it says something that may mean another thing each time.
    """
    code = _code_of(sql)
    if _UNSTEADY_WORDS.search(code):
        return None
    return frozenset(map(_folded, _CALL.findall(code)))


def _code_of(sql: str) -> str:
    """*sql* without its comments and texts."""
    return _TOKEN.sub(lambda token: token[0] if token["word"] or token[0][0] in '";' else " ", sql)


def _folded(name: str) -> str:
    """An identifier as the server knows it."""
    return name[1:-1].replace('""', '"') if name[0] == '"' else name.lower()


class InsertHead(NamedTuple):
    """The beginning of an INSERT that names its columns, up to the first of its VALUES; nothing in it is a parameter.

    Attributes:
        into: what comes before the names of the columns.
    """

    text: str
    into: str
    table: str
    columns: str


def insert_head(sql: str) -> InsertHead | None:
    """How *sql* begins, if it is an INSERT of that form."""
    found = _INSERT.match(sql)
    return found and InsertHead(found[0], found["into"], found["table"], found["columns"])


def reads_proposed(sql: str, column: str) -> bool:
    """Whether *sql* may read this column of the row that was proposed for insertion, by the name `excluded`.

    Args:
        column: as `quote_ident` writes it.
    """
    names = [found[1] for found in _PROPOSED.finditer(_code_of(sql))]
    return any(name is None or _folded(name) == _folded(column) for name in names)


@lru_cache(maxsize=1024)
def changes_session(sql: str) -> bool:
    """Whether *sql* may leave something behind in the session: a setting, a role, a temporary table, a cursor.

    A function of the team's own that does so is not seen.
    """
    return bool(_SESSION_WORDS.search(sql)) or any(first not in _LEAVES_SESSION_ALONE for first, _ in _commands(sql))


@lru_cache(maxsize=1024)
def _commands(sql: str) -> tuple[tuple[str, str], ...]:
    """The first two words of each statement in *sql*, upper-case."""
    commands: list[list[str]] = [[]]
    for token in _TOKEN.finditer(sql):
        if token["end"]:
            commands.append([])
        elif token["word"] and len(commands[-1]) < 2:
            commands[-1].append(token["word"].upper())
    return tuple((words[0], words[1] if len(words) > 1 else "") for words in commands if words)
