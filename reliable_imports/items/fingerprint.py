"""Which cause an error has: facts that are the same for every failure of one cause, and their fingerprint.

A cause is no text: messages differ by the value, the server's language and the release. Nor is it the stage, a line
number or a partition. It is the kind of error, the place in the team's code (see `code.places`), the table, constraint
and column, and the kinds of errors that led to this one.
"""

from __future__ import annotations

import hashlib
import opcode
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from types import CodeType, FrameType, TracebackType
from typing import NamedTuple

import psycopg2

from reliable_imports.items.code.places import Call, Place, call_from, place_of
from reliable_imports.items.code.source_files import written_words
from reliable_imports.items.code.team import TeamCode

FINGERPRINT_VERSION = 1
"""Part of each fingerprint; raised when the facts of a cause become others, so that nobody compares old with new."""

_MAX_CALLS = 5
_MAX_CHAIN = 5
_MAX_NESTING = 8
# In the quotes of all languages that PostgreSQL speaks.
_QUOTES = "\"'\u00ab\u00bb\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a\u300c\u300d\u300e\u300f"
_IDENTIFIER = re.compile(rf"[{_QUOTES}]\s?([^{_QUOTES}]+?)\s?[{_QUOTES}]")
_PLPGSQL = re.compile(r"^.*?PL/pgSQL.*?((?:[\w$]+|\"[^\"]+\")(?:\.(?:[\w$]+|\"[^\"]+\"))?\([^()]*\))\D*?(\d+)")
_COMMENTS = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_STATEMENT = re.compile(r"(?:'(?:[^']|'')*'|[^';])*;?")
_RAISES = re.compile(rf"\braise\b{_STATEMENT.pattern}", re.IGNORECASE)
_RAISE = opcode.opmap["RAISE_VARARGS"]
_OUR_FUNCTIONS = "reliable_imports."


@lru_cache(maxsize=1024)
def fingerprint(*facts: str) -> str:
    """The facts of a cause as eight digits."""
    text = "\0".join([str(FINGERPRINT_VERSION), *facts])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


class Located(NamedTuple):
    """Where an error arose, as the team sees it.

    Attributes:
        facts: for the fingerprint; none where no code of the team's took part.
        function: the innermost one of the team's.
        field: the field that the code looked at there, if it says which.
        words: what the `raise` says, values left out; None where the error was not raised there, or says nothing.
        code: the expression as it is written.
    """

    facts: tuple[str, ...] = ()
    function: str = ""
    field: str | None = None
    words: str | None = None
    code: str = ""


_NOWHERE = Located()


def locate(error: BaseException, team: TeamCode) -> Located:
    """The place of an error in the team's code."""
    calls = list(_calls(error.__traceback__))
    own = [number for number, (frame, _, _) in enumerate(calls) if team.has(frame.f_code.co_filename)]
    if not own:
        return _NOWHERE
    if isinstance(error, RecursionError):
        return _in_recursion(calls, own)
    innermost = own[-1]
    found = _place(calls[innermost])
    if found is None:
        return _without_source(calls[innermost])
    first = place = found
    frame = calls[innermost][0]
    values = _values_of_keys(place, frame)
    facts = [place.function, place.text, *values]
    field = values[-1] if values else place.field
    words = place.words if innermost == len(calls) - 1 else None
    wanted, is_bare = _wanted(place, values), place.is_raise and not place.is_guarded
    seen = {frame.f_code}
    number = innermost
    for _ in range(_MAX_CALLS):
        if not (is_bare or wanted or (words is not None and "{=" in words)):
            break
        number = _caller(calls, number, team, seen)
        caller = _place(calls[number]) if number >= 0 else None
        if caller is None:
            break
        call = call_from(caller, place, wanted, is_bare)
        if is_bare or wanted:
            values = _values_of_keys(call, calls[number][0])
            facts += [call.text, *values]
            field = (values[-1] if values else call.field) or field
            wanted = _wanted(call, values)
        words = _filled(words, call.words)
        is_bare = is_bare and not call.is_guarded
        place = caller
    return Located(tuple(facts), first.function, field, _filled(words, None), first.code)


def _wanted(place: Place | Call, values: Collection[str]) -> frozenset[str]:
    """The parameters of which a caller knows more: all, unless the field that is looked at is known."""
    return place.names if place.names_data or values else place.parameters


_Frame = tuple[FrameType, int, int]


def _calls(trace: TracebackType | None) -> Iterator[_Frame]:
    while trace is not None:
        yield trace.tb_frame, trace.tb_lasti, trace.tb_lineno
        trace = trace.tb_next


def _place(call: _Frame) -> Place | None:
    frame, instruction, line = call
    return place_of(frame.f_code, instruction, line)


def _caller(calls: Sequence[_Frame], number: int, team: TeamCode, seen: set[CodeType]) -> int:
    """The call before this one, itself left out where it is recursive; -1 if that is not the team's."""
    while number > 0:
        number -= 1
        code = calls[number][0].f_code
        if not team.has(code.co_filename):
            return -1
        if code not in seen:
            seen.add(code)
            return number
    return -1


def _without_source(call: _Frame) -> Located:
    frame, _, line = call
    code = frame.f_code
    return Located((code.co_name, f"+{line - code.co_firstlineno}"), code.co_name)


def _in_recursion(calls: Sequence[_Frame], own: Sequence[int]) -> Located:
    """Where the stack ends is chance; the function that comes back is not."""
    codes = [calls[number][0].f_code for number in own]
    again = next((code for code in codes if codes.count(code) > 1), codes[-1])
    return Located((again.co_name,), again.co_name)


def locate_timeout(error: BaseException, team: TeamCode) -> Located:
    """The place where time ran out: chance within a loop, so the outermost loop counts, and not what ran in it."""
    path: list[str] = []
    last = ""
    place = None
    for frame, instruction, line in _calls(error.__traceback__):
        if team.has(frame.f_code.co_filename):
            place = place_of(frame.f_code, instruction, line)
            path.append(frame.f_code.co_name if place is None else place.function)
            last = "" if place is None else place.loop or place.text
            if place is not None and place.loop is not None:
                break
    return Located((*path, last), path[-1]) if path else _NOWHERE


def _values_of_keys(place: Place | Call, frame: FrameType) -> list[str]:
    """The fields that a loop of the code had come to."""
    values = []
    for name, over in place.keys:
        value = frame.f_locals.get(name)
        if isinstance(value, str) and (over == "code" or value in written_words(frame.f_code.co_filename)):
            values.append(value)
    return values


def _filled(words: str | None, said: Mapping[str, str] | None) -> str | None:
    """Words with what a caller says for the parameters in them."""
    if words is None or "{=" not in words:
        return words
    if said is None:
        words = _TO_FILL_IN.sub("…", words)
        return words if _LETTER.search(words) else None
    return _TO_FILL_IN.sub(lambda name: said.get(name[1], "…"), words)


_TO_FILL_IN = re.compile(r"\{=(\w+)\}")
_LETTER = re.compile(r"[^\W\d_]")


# Facts


def facts_of_error(error: BaseException, located: Located, team: TeamCode, source_data: object) -> list[str]:
    """What names the cause of an exception of Python's, and those that it came from."""
    facts = [type(error).__name__, *located.facts, *discriminators(error, team, source_data)]
    for each in _chain(error):
        facts += ["from", type(each).__name__, *locate(each, team).facts, *discriminators(each, team, source_data)]
    return facts


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen = {id(error)}
    for _ in range(_MAX_CHAIN):
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None or id(before) in seen:
            return
        seen.add(id(before))
        yield before
        error = before


def discriminators(error: BaseException, team: TeamCode, source_data: object) -> Iterator[str]:
    """What an error carries that tells causes apart: numbers and codes, and the key that was not there."""
    if isinstance(error, KeyError):
        if (key := missing_key(error, team, source_data)) is not None:
            yield f"key {key}"
        return
    if isinstance(error, psycopg2.Error):
        if error.pgcode:
            yield f"{error.pgcode} {error.diag.constraint_name or error.diag.column_name or ''}"
        return
    if isinstance(error, OSError) and isinstance(error.errno, int):
        yield f"errno {error.errno}"
    if type(error).__module__ == "builtins":
        return
    try:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):  # of botocore
            told = response.get("Error")
            code = told.get("Code") if isinstance(told, Mapping) else None
            if isinstance(code, str | int):
                yield f"code {code}"
        for bearer in (error, response):
            status = next((s for n in _STATUSES if isinstance(s := getattr(bearer, n, None), int)), None)
            if status is not None and not isinstance(status, bool):
                yield f"status {int(status)}"
                return
    except Exception:  # whatever the properties of a team's exception do
        return


_STATUSES = ("status_code", "status", "code", "smtp_code", "sqlstate")


def missing_key(error: KeyError, team: TeamCode, source_data: object) -> str | None:
    """The key of a KeyError that is a name in the code and no data of the item's.

    What the team's own code raises carries its own words, and they are no part of a cause.
    """
    key = error.args[0] if len(error.args) == 1 else None
    if not isinstance(key, str) or not key:
        return None
    raised_in = raised_by(error.__traceback__)
    if raised_in is not None and team.has(raised_in):
        return None
    files = {frame.f_code.co_filename for frame, _, _ in _calls(error.__traceback__)}
    files = {each for each in files if team.has(each)} | set(team.files)
    if not any(key in written_words(each) for each in files):
        return None
    return None if _is_value(key.casefold(), source_data) else key


def raised_by(trace: TracebackType | None) -> str | None:
    """The file of the `raise`; None if the interpreter, or a library that is no Python, brought the error about."""
    last = None
    while trace is not None:
        last, trace = trace, trace.tb_next
    if last is None:
        return None
    code = last.tb_frame.f_code
    return code.co_filename if code.co_code[last.tb_lasti] == _RAISE else None


def _is_value(text: str, data: object, depth: int = 0) -> bool:
    if isinstance(data, str):
        return data.casefold() == text
    if depth < _MAX_NESTING and isinstance(data, Mapping | list):
        return any(_is_value(text, each, depth + 1) for each in (data.values() if isinstance(data, Mapping) else data))
    return False


def identifiers(message: str) -> list[str]:
    """The names in a message of the server's, in whichever quotes its language has."""
    return _IDENTIFIER.findall(message)


class ServerPlace(NamedTuple):
    """A line of a function in the database; both as the server writes them."""

    function: str
    line: int


def statement_at(place: ServerPlace, bodies: Mapping[str, str]) -> str:
    """What stands in a function at a place, so that other lines may change; the line's number if that is not known.

    Of a RAISE, what it says: the names of variables in it may change too.

    Args:
        bodies: the text of functions, by their names.
    """
    lines = bodies.get(place.function, "").split("\n")[place.line - 1 :]
    text = _COMMENTS.sub(" ", "\n".join(lines))
    found = _RAISES.search(text) if lines and "raise" in _COMMENTS.sub(" ", lines[0]).casefold() else None
    statement = found or _STATEMENT.match(text)
    if statement is None or not statement.group().strip():
        return str(place.line)
    said = _LITERAL.findall(statement.group()) if found else []
    return " ".join(["RAISE", *said] if said else statement.group().split())


@lru_cache(maxsize=256)
def server_places(context: str | None) -> Sequence[ServerPlace]:
    """The statements of the team's PL/pgSQL that led to an error, from its CONTEXT in any language."""
    places = []
    for line in (context or "").splitlines():
        found = _PLPGSQL.match(line)
        if (
            found is not None
            and not found[1].startswith(_OUR_FUNCTIONS)
            and not found[1].startswith("reliable_imports(")
        ):
            places.append(ServerPlace(found[1], int(found[2])))
    return places


def words_that_are_written(message: str, files: Collection[str]) -> str:
    """A message of which only the words that stand in the code are left."""
    known: set[str] = set()
    for each in files:
        known |= set(written_words(each))
    text = re.sub(r"\{[^{}]*\}|\w+", lambda word: word[0] if word[0][0] == "{" or word[0] in known else "…", message)
    return re.sub(r"…(?:\W*…)+", "…", text)
