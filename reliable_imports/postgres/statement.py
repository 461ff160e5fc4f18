"""What a processor's SQL statement would do to the transaction or the session it runs in."""

from __future__ import annotations

import re
from functools import lru_cache

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
    code = _TOKEN.sub(lambda token: token[0] if token["word"] or token[0][0] in '";' else " ", sql)
    if _UNSTEADY_WORDS.search(code):
        return None
    return frozenset(name[1:-1].replace('""', '"') if name[0] == '"' else name.lower() for name in _CALL.findall(code))


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
