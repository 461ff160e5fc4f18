from __future__ import annotations

import pytest

from reliable_imports.sources.location import file_name, shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket/in/a#1.csv", "a#1.csv"),
        ("s3://bucket/in/a?.csv", "a?.csv"),
        ("s3://bucket/in/a.csv?versionId=x.y", "a.csv"),
        ("gs://bucket/in/a.csv#1700000000000000", "a.csv"),
        ("file:///in/a\nb.csv", "a\nb.csv"),
        ("https://host/in/a.csv?signature=x#part", "a.csv"),
    ],
)
def test_what_a_url_names(url: str, name: str) -> None:
    assert file_name(url) == name


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://key:secret@bucket/in/a@b#1?.csv", "s3://bucket/in/a@b#1?.csv"),
        ("memory:///in/a.csv", "memory:///in/a.csv"),
        ("https://user:secret@host/in/a.csv?signature=x", "https://host/in/a.csv"),
    ],
)
def test_a_url_is_told_without_secrets(url: str, told: str) -> None:
    assert shown(url) == told
