"""DSNs: checked without giving anything of a password away, and shown without it.

libpq's own messages about a malformed DSN quote the part that it stumbled over, which is often part of the password.
So a DSN is read here first, and libpq is asked only for its verdict.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, quote_plus, unquote, unquote_to_bytes

import psycopg2
from psycopg2.extensions import parse_dsn as ask_libpq

from reliable_imports.errors import InvalidDsn

_SECRET = frozenset({"password", "sslpassword", "oauth_client_secret"})
_SCHEMES = ("postgresql", "postgres")
_ESCAPED = re.compile(r"%(?!00)[0-9A-Fa-f]{2}")
_HOST = re.compile(r"(?P<host>\[[^\]\[@]+\]|[^\[\]:/?,@]*)(?::(?P<port>[^\[\]:/?,@]*))?")
_WORD = re.compile(r"\s*(?P<keyword>[^=\s]*)\s*(?P<equals>=?)\s*", re.ASCII)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL)
_BARE = re.compile(r"((?:[^\\\s]|\\.)*)\\?", re.ASCII | re.DOTALL)
_ENCODE = "'@', ':', '/', '?' and '%' in a user name or password must be written as %40, %3A, %2F, %3F and %25"
_HIDDEN = "***"
_SHORTEST_DSN = len("host=a")


class _Part(NamedTuple):
    """One value of a DSN, and where it stands in the text."""

    keyword: str
    value: str
    start: int
    end: int


def parse_dsn(dsn: str) -> Mapping[str, str]:
    """The values of *dsn*, a URL or `key=value` words, by libpq's keywords (`host`, `port`, `user`, `dbname`, ...).

    Raises:
        InvalidDsn: libpq could not read it. Neither the message nor the error's context holds any of its text.
    """
    _read(dsn)
    verdict = _verdict_of_libpq(dsn)
    if verdict is None:
        raise InvalidDsn("one of its parameters is not known to libpq")
    return verdict


def redacted_dsn(dsn: str) -> str:
    """*dsn* with its passwords hidden; of one that cannot be read nothing is shown, as any of it may be a password."""
    try:
        parse_dsn(dsn)
    except InvalidDsn:
        return f"postgresql://{_HIDDEN}"
    shown = dsn
    for part in sorted(_read(dsn), key=lambda part: part.start, reverse=True):
        if part.keyword in _SECRET and part.value:
            shown = shown[: part.start] + _HIDDEN + shown[part.end :]
    return shown


def redact(text: str, dsn: str) -> str:
    """*text* with every password of *dsn* hidden, however it is written there, and anything that looks like one."""
    if len(dsn.strip()) >= _SHORTEST_DSN:  # a stray blank stands in every message
        text = text.replace(dsn, redacted_dsn(dsn))
    for secret in sorted(_secrets_of(dsn), key=len, reverse=True):
        if len(secret) < 4:  # as part of longer words it would be found everywhere, and given away by its absence
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _HIDDEN, text)
        else:
            text = text.replace(secret, _HIDDEN)
    text = re.sub(r"(\w://[^\s:/@]*:)[^\s@]+@", rf"\1{_HIDDEN}@", text)
    return re.sub(r"(?i)\b((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)", rf"\1{_HIDDEN}", text)


def _verdict_of_libpq(dsn: str) -> dict[str, str] | None:
    try:
        return {keyword: str(value) for keyword, value in ask_libpq(dsn).items()}
    except (psycopg2.Error, ValueError):
        # Returned, not raised from here: the error would carry libpq's message in its context.
        return None


def _read(dsn: str) -> list[_Part]:
    if not dsn.strip():
        raise InvalidDsn("it is empty")
    if "\0" in dsn:
        raise InvalidDsn("it contains a NUL character")
    scheme, separator, _ = dsn.partition("://")
    if separator and scheme in _SCHEMES:
        return list(_read_url(dsn, len(scheme) + 3))
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        raise InvalidDsn(f"its scheme is {scheme}:// and not postgresql://")
    return list(_read_words(dsn))


def _read_url(dsn: str, start: int) -> Iterator[_Part]:
    at = dsn.find("@", start, _first_of("/", dsn, start))
    if at >= 0:
        user_end = _first_of(":", dsn, start, at)
        yield _decoded("user", dsn, start, user_end)
        yield _decoded("password", dsn, min(user_end + 1, at), at)
        start = at + 1
    end = _first_of("/?", dsn, start)
    yield from _read_hosts(dsn, start, end)
    if dsn[end : end + 1] == "/":
        start, end = end + 1, _first_of("?", dsn, end)
        yield _decoded("dbname", dsn, start, end)
    start = end + 1
    number = 0
    while start < len(dsn):
        end = _first_of("&", dsn, start)
        number += 1
        equals = dsn.find("=", start, end)
        if equals <= start:
            raise InvalidDsn(f"parameter {number} after the '?' is not key=value ('&' in a value is written %26)")
        if "=" in dsn[equals + 1 : end]:
            raise InvalidDsn(f"parameter {number} after the '?' has a second '=' ('=' in a value is written %3D)")
        keyword = _decoded("", dsn, start, equals).value
        yield _decoded(keyword, dsn, equals + 1, end)
        start = end + 1


def _read_hosts(dsn: str, start: int, end: int) -> Iterator[_Part]:
    while True:
        match = _HOST.match(dsn, start, end)
        stop = match.end() if match else start
        if match is None or (stop < end and dsn[stop] != ","):
            raise InvalidDsn(f"its host cannot be read ({_ENCODE})")
        port = match["port"] or ""
        if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            raise InvalidDsn(f"what follows the ':' after its host is not a port number ({_ENCODE})")
        yield _decoded("host", dsn, *match.span("host"))
        if stop >= end:
            return
        start = stop + 1


def _read_words(dsn: str) -> Iterator[_Part]:
    position, number = 0, 0
    while dsn[position:].strip(" \t\n\r\f\v"):
        number += 1
        word = _WORD.match(dsn, position)
        assert word is not None  # it matches the empty string
        if not word["equals"] or not word["keyword"]:
            raise InvalidDsn(f"word {number} is not key=value (a value with spaces is written in single quotes)")
        position = word.end()
        is_quoted = dsn[position : position + 1] == "'"
        value = (_QUOTED if is_quoted else _BARE).match(dsn, position)
        if value is None:
            raise InvalidDsn(f"the quoted value of word {number} has no end")
        yield _Part(word["keyword"], re.sub(r"(?s)\\(.)", r"\1", value[1]), *value.span(1))
        position = value.end()


def _decoded(keyword: str, dsn: str, start: int, end: int) -> _Part:
    written = dsn[start:end]
    if "%" in _ESCAPED.sub("", written):
        raise InvalidDsn(f"a '%' in it is not followed by two hexadecimal digits ({_ENCODE})")
    try:
        value = unquote_to_bytes(written).decode()
    except UnicodeError:  # or a lone surrogate, as bytes of the environment become
        value = None
    if value is None:
        raise InvalidDsn("a value in it is not UTF-8 after decoding its '%'")
    return _Part(keyword, value, start, end)


def _first_of(characters: str, text: str, start: int, end: int | None = None) -> int:
    end = len(text) if end is None else end
    return min((found for character in characters if (found := text.find(character, start, end)) >= 0), default=end)


def _secrets_of(dsn: str) -> set[str]:
    try:
        parse_dsn(dsn)
    except InvalidDsn:
        # Any piece of it may be one.
        pieces = re.split(r"[\s:/@?&=,'\\]+", dsn.partition("://")[2] or dsn)
        return {spelling for piece in pieces if len(piece) > 3 for spelling in (piece, unquote(piece))}
    secrets = set()
    for part in _read(dsn):
        if part.keyword in _SECRET and part.value:
            secrets |= {dsn[part.start : part.end], part.value, repr(part.value)[1:-1]}
            secrets |= {
                quote(part.value),
                quote(part.value, safe=""),
                quote(part.value, safe=" +"),
                quote_plus(part.value),
            }
    return secrets - {""}
