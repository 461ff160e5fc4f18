from __future__ import annotations

import string
from urllib.parse import quote

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg2.extensions import make_dsn
from psycopg2.extensions import parse_dsn as parse_with_libpq
from sqlalchemy.engine import make_url

from reliable_imports.errors import InvalidDsn
from reliable_imports.postgres.dsn import parse_dsn, redact, redacted_dsn
from reliable_imports_dagster.storage import dagster_postgres_url

pytestmark = pytest.mark.promise(9)

SECRET = "Xq7zSECRETkw9"

VALID = [
    "postgresql://u:pa%40ss@host:5433/db",
    "postgres://u@host/db?sslmode=require&connect_timeout=3",
    "postgresql://",
    "postgresql:///db",
    "postgresql://host",
    "postgresql://u:p?w#d@host/db",
    "postgresql://u:a:b@host/db",
    "postgresql://:pw@host/db",
    "postgresql://u:@host/db",
    "postgresql://u:p@[2001:db8::1]:5433/db",
    "postgresql://[fe80::1%25eth0]/db",
    "postgresql://h1:5432,h2,[::1]:5434/db?target_session_attrs=any",
    "postgresql://%2Fvar%2Frun%2Fpostgresql/db",
    "postgresql:///db?host=/tmp/a%20b&port=5433&user=u&password=a%26b%3Dc",
    "postgresql://u:p@h/my%20db?options=-c%20statement_timeout%3D5&",
    "postgresql://h/db?ssl=true",
    "postgresql://u:p%C3%A4ss@h/db?application_name=%E2%9C%93",
    "host=h dbname=d user=u password='a b\\'c\\\\d' port = 5433",
    "host=/tmp/x  password=a\\ b dbname=d",
    "host='' user=u",
    "service=mine",
    "password='x'user=u",
]

MALFORMED = [
    f"postgresql://u:{SECRET}",
    f"postgresql://u:a/{SECRET}@host/db",
    f"postgresql://u:a@{SECRET}@host/db",
    f"postgresql://u:a%{SECRET}@host/db",
    f"postgresql://u:%zz{SECRET}@host/db",
    f"postgresql://u:%00{SECRET}@host/db",
    f"postgresql://u:%ff{SECRET}@host/db",
    f"postgresql://u:{SECRET}@host:54x/db",
    f"postgresql://u:{SECRET}@host:70000/db",
    f"postgresql://u:{SECRET}@[::1/db",
    f"postgresql://u:{SECRET}@[]/db",
    f"postgresql://u:a[{SECRET}/db",
    f"postgresql://h/db?password=a&{SECRET}",
    f"postgresql://h/db?password=a&{SECRET}=b",
    f"postgresql://h/db?password=a={SECRET}",
    f"postgresql://h/db?={SECRET}",
    f"postgresql+psycopg2://u:{SECRET}@host/db",
    f"mysql://u:{SECRET}@host/db",
    f"u:{SECRET}@host/db",
    SECRET,
    f"host=h password=a {SECRET}",
    f"host=h password='a{SECRET}",
    f"host=h password=a {SECRET}=b",
    f"host=h password='a'b{SECRET}",
    f"={SECRET}",
    f"host=h password={SECRET}\0",
    f"postgresql://u:{SECRET}\udcff@host/db",
    "",
    "  ",
]


@pytest.mark.parametrize("dsn", VALID)
def test_a_valid_dsn_gives_what_libpq_reads(dsn: str) -> None:
    assert parse_dsn(dsn) == parse_with_libpq(dsn)


@pytest.mark.parametrize("dsn", MALFORMED)
def test_a_malformed_dsn_gives_nothing_of_itself_away(dsn: str) -> None:
    with pytest.raises(InvalidDsn) as refused:
        parse_dsn(dsn)
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(vars(refused.value))
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert SECRET not in redacted_dsn(dsn)


def test_libpq_itself_would_give_a_password_away() -> None:
    with pytest.raises(psycopg2.ProgrammingError, match=SECRET):
        parse_with_libpq(f"host=h password=a {SECRET}")


def test_the_url_of_another_driver_is_named() -> None:
    with pytest.raises(InvalidDsn, match=r"its scheme is postgresql\+psycopg2://"):
        parse_dsn("postgresql+psycopg2://u:p@h/db")


def test_an_unencoded_character_is_explained() -> None:
    with pytest.raises(InvalidDsn, match="%40"):
        parse_dsn("postgresql://u:p@ss@host/db")


# Passwords that mean something to a parser.
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
tricky = st.text("@:/?#%&=' \\[]$,aé", min_size=1)


@given(user=text | tricky, password=text | tricky, database=text | tricky)
@example(user="+", password="a b+c", database="%41")
def test_every_password_survives_every_form(user: str, password: str, database: str) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h:5433/{quote(database, safe='')}"
    words = make_dsn(host="h", port="5433", user=user, password=password, dbname=database)
    wanted = {"host": "h", "port": "5433", "user": user, "password": password, "dbname": database}
    for dsn in (url, words):
        assert parse_dsn(dsn) == wanted
        assert _values_kept(dsn) == wanted


@given(st.text("postgresql:/@?&=%'\\ [],hu1ab25\n") | text)
def test_whatever_is_accepted_is_read_as_libpq_reads_it(dsn: str) -> None:
    for candidate in (dsn, f"postgresql://{dsn}"):
        try:
            values = parse_dsn(candidate)
        except InvalidDsn:
            continue
        assert values == parse_with_libpq(candidate)
        assert _values_kept(candidate) == {key: value for key, value in values.items() if value}


@given(password=st.text(string.ascii_letters + string.digits + "@:/?#%&=' \\", min_size=9))
def test_a_password_is_hidden_in_every_form(password: str) -> None:
    hidden = "SECRETxx" + password
    for dsn in (
        f"postgresql://u:{quote(hidden, safe='')}@h/db",
        f"postgresql://h/db?user=u&password={quote(hidden, safe='')}",
        make_dsn(host="h", password=hidden),
    ):
        assert "SECRETxx" not in redacted_dsn(dsn)
        assert parse_dsn(redacted_dsn(dsn)) == {**parse_dsn(dsn), "password": "***"}
        said = f"cannot connect to {dsn} with {hidden}, {hidden!r} or {quote(hidden)}: {dagster_postgres_url(dsn)}"
        assert "SECRETxx" not in redact(said, dsn)


def test_what_is_no_password_is_shown() -> None:
    assert redacted_dsn("postgresql://u:p@h:1/db?sslpassword=q") == "postgresql://u:***@h:1/db?sslpassword=***"
    assert redacted_dsn("postgresql://u@h/db") == "postgresql://u@h/db"
    assert redacted_dsn("host=h password='a b' user=u") == "host=h password='***' user=u"


def test_a_short_password_does_not_spoil_the_text() -> None:
    assert redact("database banana: role a, at once", "postgresql://u:a@h/db") == "database banana: role ***, at once"


def test_other_peoples_passwords_are_hidden_too() -> None:
    said = redact("tried postgresql://x:hunter22@other/db and password=hunter22 there", "postgresql://u@h/db")
    assert "hunter22" not in said
    assert "x:***@other/db" in said


def test_pieces_of_a_malformed_dsn_are_hidden() -> None:
    dsn = f"postgresql://u:a@{SECRET}@host/db"
    assert SECRET not in redact(f'could not translate host name "{SECRET}@host" to address', dsn)


@pytest.mark.parametrize("dsn", [dsn for dsn in VALID if "service" not in dsn])
@pytest.mark.parametrize("schema", ["dagster", 'My "odd" \\schema'])
def test_sqlalchemy_reads_the_same_values(dsn: str, schema: str) -> None:
    url = dagster_postgres_url(dsn, schema)
    wanted = {key: value for key, value in parse_dsn(dsn).items() if value}
    found = _connect_arguments(url)
    options = found.pop("options")
    before = wanted.pop("options", "")
    assert options.startswith(before)
    assert "-csearch_path=" in options
    assert url.startswith("postgresql+psycopg2://")
    assert found == wanted


def test_a_schema_is_the_search_path(empty_database: str) -> None:
    for schema in ("dagster", 'My "odd" \\schema'):
        arguments = _connect_arguments(dagster_postgres_url(empty_database, schema))
        connection = psycopg2.connect(**arguments)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_schemas(false), current_setting('search_path')")
            assert schema.replace('"', '""') in cursor.fetchone()[1]
            cursor.execute("SELECT format('CREATE SCHEMA %%I', %s)", [schema])
            cursor.execute(cursor.fetchone()[0])
            cursor.execute("SELECT current_schema()")
            assert cursor.fetchone()[0] == schema
        connection.close()


def test_the_schema_comes_after_other_options() -> None:
    url = dagster_postgres_url("postgresql://h/db?options=-c%20statement_timeout%3D5")
    assert _connect_arguments(url)["options"] == "-c statement_timeout=5 -csearch_path=dagster"


def test_the_plain_case_looks_plain() -> None:
    url = dagster_postgres_url("postgresql://u:p@127.0.0.1:5432/db")
    assert url == "postgresql+psycopg2://u:p@127.0.0.1:5432/db?options=-csearch_path%3Ddagster"


def _values_kept(dsn: str) -> dict[str, str]:
    """The values of *dsn* that reach psycopg2 through Dagster's URL, which adds a search_path to the options."""
    values = _connect_arguments(dagster_postgres_url(dsn))
    options = values.pop("options").removesuffix("-csearch_path=dagster").removesuffix(" ")
    return {**values, "options": options} if options else values


def _connect_arguments(url: str) -> dict[str, str]:
    """What SQLAlchemy would hand to psycopg2."""
    parsed = make_url(url)
    words, arguments = parsed.get_dialect()().create_connect_args(parsed)
    assert words in ([], [""])
    return {key: str(value) for key, value in arguments.items()}
