"""Every error as one line that says what to do, and the exit status that goes with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.text import one_line
from reliable_imports.errors import ConfigurationError, ReliableImportsError, SourceError, SourceUnavailable

if TYPE_CHECKING:
    import psycopg2

_THE_DSN = "RELIABLE_IMPORTS_DSN or --dsn"
_NOT_THERE = (
    "is the server running? `reliable-imports db start` starts the embedded one, which is used where neither "
    "RELIABLE_IMPORTS_DSN nor --dsn names another"
)
_DISK_FULL = (
    "a disk of the server is full, and what was not finished is undone: make room on it (`reliable-imports db status` "
    "says where the embedded server has its data), and repeat the command"
)
# What libpq or the server says while connecting, where no SQLSTATE tells; the first that fits.
_ADVICE: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"No space left on device|Disk quota exceeded"), _DISK_FULL),
    (re.compile(r"authentication failed|no password supplied|pg_hba\.conf"), f"check user and password in {_THE_DSN}"),
    (re.compile(r"role .* does not exist|not permitted to log in"), f"check the user in {_THE_DSN}"),
    (re.compile(r"database .* does not exist"), f"create it, or check the database's name in {_THE_DSN}"),
    (re.compile(r"permission denied for database"), "the role needs CONNECT on it"),
    (re.compile(r"could not translate host name"), f"check the host in {_THE_DSN}"),
    (re.compile(r"too many clients|remaining connection slots|too many connections"), "try again when some have ended"),
    (re.compile(r"SSL|certificate"), f"check sslmode and the certificates in {_THE_DSN}"),
)
_HINTS_OF_LIBPQ = re.compile(r"^\s*(Is the server running .*|accepting .*|This probably means .*|before or while .*)$")
_LINE_OF_COPY = re.compile(r"^\w+ ?:\s+COPY ")
"""What libpq adds if the connection is lost while items are stored: it shows one of them."""


class Interrupted(Exception):
    """Ctrl-C while a batch was worked."""

    def __init__(self, batch_id: int) -> None:
        self.batch_id = batch_id
        super().__init__(
            f"interrupted; finished items of batch {batch_id} are kept and the rest stay pending: "
            f"`reliable-imports process {batch_id}` goes on"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """An error, told to a person."""

    message: str
    status: ExitStatus


def explain(error: BaseException) -> Problem:
    """What to say about *error*; a password that somebody put into it is still there."""
    import psycopg2  # the help of a command does without it

    match error:
        case Interrupted():
            return Problem(str(error), ExitStatus.INTERRUPTED)
        case KeyboardInterrupt() | click.Abort():
            return Problem("interrupted; what was finished before is kept", ExitStatus.INTERRUPTED)
        case click.UsageError():
            return Problem(_wrong_use(error), ExitStatus.WRONG_USE)
        case click.ClickException():
            return Problem(one_line(error.format_message()), ExitStatus.WRONG_USE)
        case SourceUnavailable():
            return Problem(one_line(str(error)), ExitStatus.COULD_NOT)
        case ConfigurationError() | SourceError():
            return Problem(one_line(str(error)), ExitStatus.WRONG_USE)
        case ReliableImportsError():
            return Problem(one_line(str(error)), ExitStatus.COULD_NOT)
        case psycopg2.Error():
            return Problem(_database_problem(error), ExitStatus.COULD_NOT)
        case OSError():
            return Problem(one_line(str(error)), ExitStatus.COULD_NOT)
        case _:
            said = one_line(f"{type(error).__name__}: {error}")
            return Problem(f"{said}; --verbose shows where it came from", ExitStatus.COULD_NOT)


def _wrong_use(error: click.UsageError) -> str:
    said = one_line(error.format_message()).rstrip(".")
    if error.ctx is None or "`" in said:
        return said
    return f"{said}; `{error.ctx.command_path} --help` shows how it is used"


def _database_problem(error: psycopg2.Error) -> str:
    said = error.diag.message_primary or _without_hints(str(error)) or type(error).__name__
    advice = _advice(error, said)
    return one_line(f"{said}; {advice}" if advice else said)


def _advice(error: psycopg2.Error, said: str) -> str | None:
    import psycopg2.errors

    match error:
        case psycopg2.errors.InsufficientPrivilege():
            return (
                "the role needs CREATE on the database, or somebody who has it runs `reliable-imports migrate` and "
                "grants the role USAGE on schema reliable_imports and SELECT, INSERT, UPDATE on its tables"
            )
        case psycopg2.errors.DependentObjectsStillExist():  # only `migrate` drops anything
            standing = (error.diag.message_detail or "").splitlines()
            return f"{'; '.join(standing)}; nothing was changed: drop what is yours, migrate, and make it again"
        case psycopg2.errors.LockNotAvailable():
            return "what is to be changed was in use all the time, and nothing was changed; repeat the command later"
        case psycopg2.errors.DiskFull():
            return _DISK_FULL
        case psycopg2.errors.ReadOnlySqlTransaction():
            return f"name the primary server in {_THE_DSN}"
        case psycopg2.OperationalError() | psycopg2.InterfaceError() if error.pgcode is None:
            return next((advice for pattern, advice in _ADVICE if pattern.search(said)), _NOT_THERE)
        case _:
            return None


def _without_hints(text: str) -> str:
    """libpq's message without its own advice, each line once: it says the same for every address of a host."""
    left_out = (_HINTS_OF_LIBPQ, _LINE_OF_COPY)
    lines = [line.strip() for line in text.splitlines() if not any(each.match(line) for each in left_out)]
    return "; ".join(dict.fromkeys(line for line in lines if line))
