"""docs/glossary.md: each word once, and where it is said to live there is something of that name."""

from __future__ import annotations

import re
from contextlib import closing

import psycopg2
import pytest

import reliable_imports
from reliable_imports import BaseProcessor, BatchManager, ImportContext, TableProcessor
from reliable_imports.postgres.queries import load
from tests.running import ROOT

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
OURS, _ = PAGE.split("## Words that we do not use")
ROWS = re.findall(r"^\| (?!word|---)(.+?) \| (.+?) \| (.+?) \|$", OURS, re.MULTILINE)
PLACES = sorted({place for _, _, where in ROWS for place in re.findall(r"`(.+?)`", where)})
CATALOGUE = """
    SELECT table_name FROM information_schema.tables WHERE table_schema = 'reliable_imports'
    UNION SELECT table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'reliable_imports'
    UNION SELECT regexp_replace(proname, '_v[0-9]+$', '') FROM pg_proc
        WHERE pronamespace = 'reliable_imports'::regnamespace
    UNION SELECT conname FROM pg_constraint WHERE connamespace = 'reliable_imports'::regnamespace
"""


def test_a_word_is_explained_once_in_one_sentence() -> None:
    words = [word for word, _, _ in ROWS]
    assert len(words) == len(set(words))
    for word, means, _ in ROWS:
        assert means.endswith("."), word


@pytest.fixture(scope="module")
def catalogue(server_dsn: str, template: str) -> set[str]:
    with closing(psycopg2.connect(server_dsn, dbname=template)) as connection, connection.cursor() as cursor:
        cursor.execute(CATALOGUE)
        # A function's name ends with its version, which is no part of the word.
        return {re.sub(r"_v\d+$", "", name) for (name,) in cursor.fetchall()}


def exists(place: str, catalogue: set[str]) -> bool:
    if "/" in place:
        return (ROOT / "reliable_imports" / place).exists()
    if place.startswith("ctx."):
        return hasattr(ImportContext, place.removeprefix("ctx."))
    if place in load("work.sql"):
        return True
    owners = (reliable_imports, BaseProcessor, TableProcessor, BatchManager)
    return place in catalogue or place == "returning=" or any(hasattr(owner, place) for owner in owners)


@pytest.mark.parametrize("place", PLACES)
def test_where_a_word_lives_there_is_something(place: str, catalogue: set[str]) -> None:
    assert exists(place, catalogue)
