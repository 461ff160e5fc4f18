from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reliable_imports import ConfigurationError, SourceError, SourceUnavailable
from reliable_imports.sources import locate_partition, open_source
from reliable_imports.sources.stored.location import file_name, shown


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket/in/a#1.csv", "a#1.csv"),
        ("s3://bucket/in/a?.csv", "a?.csv"),
        ("s3://bucket/in/a.csv?versionId=x.y", "a.csv"),
        ("gs://bucket/in/a.csv#1700000000000000", "a.csv"),
        ("file:///in/a\nb.csv", "a\nb.csv"),
        ("memory://a[1].csv", "a[1].csv"),
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
        ("memory://a[1].csv", "memory://a[1].csv"),
        ("abfss://bucket@account.dfs.core.windows.net/a.csv", "abfss://bucket@account.dfs.core.windows.net/a.csv"),
        ("https://user:secret@host/in/a.csv?signature=x", "https://host/in/a.csv"),
    ],
)
def test_a_url_is_told_without_secrets(url: str, told: str) -> None:
    assert shown(url) == told


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404 if "missing" in self.path else 403)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing_server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Refuses) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(120)


def test_a_refusal_is_told_without_the_signature(refusing_server: str) -> None:
    with pytest.raises(SourceUnavailable) as told:
        open_source(f"{refusing_server}/a.csv?credential=key%2Fday&signature=secret")

    assert "403" in str(told.value)
    assert "secret" not in str(told.value)


def test_a_file_that_a_server_does_not_have_is_missing_for_good(refusing_server: str) -> None:
    with pytest.raises(SourceError, match="there is no such file") as told:
        open_source(f"{refusing_server}/missing.csv")

    assert not isinstance(told.value, SourceUnavailable)


@pytest.mark.parametrize(
    ("source", "name", "place"),
    [
        ("in/{partition}.csv", "2024-01-31-05:00", "in/2024-01-31-05:00.csv"),
        ("in/{partition}/shops.csv", "emea/a..b", "in/emea/a..b/shops.csv"),
        ("s3://bucket/{partition}.csv", "{partition}", "s3://bucket/{partition}.csv"),
    ],
)
def test_a_partition_names_its_place_in_the_source(source: str, name: str, place: str) -> None:
    assert str(locate_partition(source, {"partition": name})) == place


@pytest.mark.parametrize(
    "name", ["..", "../shops", "emea/../../shops", "..\\shops", "/etc/passwd", "~root", "s3://x/y"]
)
def test_a_partition_that_leads_out_of_the_sources_folder_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="would lead out of the folder of the source"):
        locate_partition("in/{partition}", {"partition": name})
    assert str(locate_partition("in/shops.csv", {"partition": name})) == "in/shops.csv"
