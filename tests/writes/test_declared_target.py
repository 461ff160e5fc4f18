"""What a processor declares of its target: the key, what becomes of rows that exist, which fields are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg2
import pydantic
import pytest

import reliable_imports
from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext, TableProcessor
from tests.writes.conftest import Register, Sql, said

AUDIT = """
CREATE TABLE audit (what text, id integer);
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO audit VALUES (lower(TG_OP), NEW.id);
    RETURN NULL;
END $$;
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION note_change();
"""


class Person(pydantic.BaseModel):
    id: int
    name: str | None = None
    phone: str | None = None


class PeopleProcessor(TableProcessor):
    table = "people"
    key: Any = ("id",)
    model = Person


@pytest.fixture
def people(register: Register, sql: Sql) -> None:
    sql("CREATE TABLE people (id integer PRIMARY KEY, name text, phone text)")
    register(PeopleProcessor)


def _import(manager: BatchManager, items: Any, batch_type: str = "people") -> Any:
    return manager.process_batch(manager.create_batch(batch_type, items))


def _ids(numbers: range) -> list[dict[str, Any]]:
    return [{"id": number, "name": f"n{number}"} for number in numbers]


def _derive(base: type[TableProcessor] = PeopleProcessor, **attributes: Any) -> type[TableProcessor]:
    """A processor of the same batch type that declares some things otherwise."""
    return type(base.__name__, (base,), {"batch_type": base.batch_type, **attributes})


# The key


class Account(pydantic.BaseModel):
    email: str
    name: str


class AccountsProcessor(TableProcessor):
    table = "accounts"
    key: Any = ("email",)
    model = Account


def _twice(manager: BatchManager, sql: Sql) -> list[tuple[Any, ...]]:
    """Imports an account, and then the same with another name; gives the accounts, and problems if there are any."""
    problems = []
    for name in ("first", "second"):
        batch_id = manager.create_batch("accounts", [{"email": "ann@example.org", "name": name}])
        summary = manager.process_batch(batch_id)
        problems += [(text,) for text in said(manager, batch_id)]
        problems += [(summary.pause_reason,)] if summary.pause_reason else []
    return problems or sql("SELECT email, name FROM accounts ORDER BY 1, 2")


@pytest.mark.parametrize(
    ("unique", "key"),
    [
        ("ALTER TABLE accounts ADD PRIMARY KEY (email)", ("email",)),
        ("ALTER TABLE accounts ADD PRIMARY KEY (email)", "email"),
        ("ALTER TABLE accounts ADD CONSTRAINT one_email UNIQUE (email)", "one_email"),
        ('CREATE UNIQUE INDEX "One E-Mail" ON accounts (email)', "One E-Mail"),
        ("CREATE UNIQUE INDEX active ON accounts (email) WHERE deleted_at IS NULL", "active"),
        ("CREATE UNIQUE INDEX lowered ON accounts (lower(email))", "lowered"),
        ("CREATE UNIQUE INDEX two ON accounts (lower(email), coalesce(name, ''))", None),
        ("CREATE UNIQUE INDEX ON accounts (email) INCLUDE (name)", ("email",)),
        ("CREATE UNIQUE INDEX ON accounts (email DESC NULLS LAST)", ("email",)),
        ('CREATE UNIQUE INDEX pattern ON accounts (email COLLATE "C" text_pattern_ops)', ("email",)),
    ],
    ids=[
        "columns", "a column", "constraint", "index", "partial index", "expression index", "expression of two columns",
        "index that includes columns", "descending index", "index with an operator class",
    ],
)  # fmt: skip
def test_a_row_is_found_by_the_key_that_is_named(
    manager: BatchManager, register: Register, sql: Sql, unique: str, key: Any
) -> None:
    sql("CREATE TABLE accounts (email text, name text, deleted_at timestamptz)")
    sql(unique)
    if key is None:
        declared: Any = reliable_imports.UniqueIndex("two")
    elif isinstance(key, str) and key != "email":
        declared = reliable_imports.UniqueIndex(key)
    else:
        declared = key
    register(_derive(AccountsProcessor, key=declared))

    rows = _twice(manager, sql)

    if key is None:
        assert rows == [("ann@example.org", "first"), ("ann@example.org", "second")]
    else:
        assert rows == [("ann@example.org", "second")]


@pytest.mark.parametrize("index", ["(email) WHERE deleted_at IS NULL", "(lower(email))"], ids=["partial", "expression"])
def test_columns_find_the_only_index_over_them(manager: BatchManager, register: Register, sql: Sql, index: str) -> None:
    sql("CREATE TABLE accounts (email text, name text, deleted_at timestamptz)")
    sql(f"CREATE UNIQUE INDEX ON accounts {index}")
    register(AccountsProcessor)

    assert _twice(manager, sql) == [("ann@example.org", "second")]


def test_a_row_outside_a_partial_index_is_no_conflict(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE accounts (email text, name text, deleted_at timestamptz)")
    sql("CREATE UNIQUE INDEX active ON accounts (email) WHERE deleted_at IS NULL")
    sql("INSERT INTO accounts VALUES ('ann@example.org', 'gone', now())")
    register(AccountsProcessor)

    assert _twice(manager, sql) == [("ann@example.org", "gone"), ("ann@example.org", "second")]


def test_keys_that_an_expression_makes_equal_are_one_row(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE accounts (email text, name text)")
    sql("CREATE UNIQUE INDEX lowered ON accounts (lower(email))")
    register(_derive(AccountsProcessor, natural_key=()))
    items = [{"email": email, "name": str(number)} for number, email in enumerate(["Ann@x.org", "ann@X.org"] * 30)]

    summary = _import(manager, items, "accounts")

    assert summary.failed_items == 0
    assert sql("SELECT lower(email), name FROM accounts") == [("ann@x.org", "59")]


def test_two_indexes_that_columns_could_mean_are_told_apart_by_name(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE accounts (email text, name text, deleted_at timestamptz)")
    sql("CREATE UNIQUE INDEX active ON accounts (email) WHERE deleted_at IS NULL")
    sql("CREATE UNIQUE INDEX gone ON accounts (email) WHERE deleted_at IS NOT NULL")
    register(AccountsProcessor)
    batch_id = manager.create_batch("accounts", [{"email": "ann@example.org", "name": "Ann"}])

    summary = manager.process_batch(batch_id)

    assert summary.status is BatchStatus.PAUSED
    assert "active" in (summary.pause_reason or "")
    assert "gone" in (summary.pause_reason or "")
    register(_derive(AccountsProcessor, key=reliable_imports.UniqueIndex("active")))
    assert manager.process_batch(batch_id).completed_items == 1


@pytest.mark.parametrize("column", ["row_number", "used", "cells_1"])
def test_a_column_of_a_unique_index_may_have_any_name(
    manager: BatchManager, register: Register, sql: Sql, column: str
) -> None:
    sql(f"CREATE TABLE people ({column} integer, name text CHECK (name <> 'n30'), phone text)")
    sql(f"CREATE UNIQUE INDEX ON people ({column})")
    register(_derive(rename={"id": column}, key=(column,), model=None))

    for _ in range(2):
        summary = _import(manager, _ids(range(60)))

        assert (summary.completed_items, summary.failed_items) == (59, 1)


def test_an_index_of_which_not_all_columns_are_named_tells_rows_apart_by_all_of_them(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE people (number serial, id integer, name text, phone text, UNIQUE (id, name))")
    register(_derive(key=reliable_imports.UniqueIndex("people_id_name_key", "id"), natural_key=()))
    _import(manager, [{"id": number, "name": "a", "phone": "1"} for number in range(60)])

    summary = _import(manager, [{"id": number, "name": "b", "phone": "1"} for number in range(60)])

    assert summary.completed_items == 60
    assert sql("SELECT count(*) FROM people") == [(120,)]


def test_a_key_that_a_row_holds_in_part_is_told_by_the_server(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE people (id integer, name text, phone text, place text DEFAULT 'here', UNIQUE (id, place))")
    register(_derive(key=reliable_imports.UniqueIndex("people_id_place_key", "id")))

    for name in ("first", "second"):
        assert _import(manager, [{"id": number, "name": name} for number in range(60)]).completed_items == 60

    assert sql("SELECT name, place, count(*) FROM people GROUP BY 1, 2") == [("second", "here", 60)]
    assert sql("SELECT count(*) FROM reliable_imports.import_attempts WHERE row_key IS NULL") == [(0,)]


def test_an_identity_may_be_all_that_could_be_updated(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE people (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, phone text)")
    register(_derive(never_updated=("name", "phone")))

    for name in ("first", "second"):
        assert _import(manager, [{"id": 7, "name": name, "phone": "1"}]).completed_items == 1

    assert sql("TABLE people") == [(7, "first", "1")]


def test_a_column_that_is_never_updated_is_one_of_the_table(
    manager: BatchManager, register: Register, people: None
) -> None:
    register(_derive(never_updated=("phnoe",)))

    summary = _import(manager, _ids(range(60)))

    assert summary.status is BatchStatus.PAUSED
    assert "no column phnoe; did you mean phone?" in (summary.pause_reason or "")


def test_without_a_key_rows_are_inserted(manager: BatchManager, register: Register, people: None, sql: Sql) -> None:
    sql("ALTER TABLE people DROP CONSTRAINT people_pkey")
    register(_derive(key=()))

    _import(manager, [{"id": 1}, {"id": 1}])

    assert sql("SELECT id FROM people") == [(1,), (1,)]


def test_what_the_file_itself_replaces_is_skipped_and_named(manager: BatchManager, people: None, sql: Sql) -> None:
    batch_id = manager.create_batch("people", [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 1, "name": "c"}])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (2, 1)
    assert said(manager, batch_id) == ["1 skipped: item 3 of this batch has the same natural key"]
    assert sql("SELECT id, name FROM people ORDER BY 1") == [(1, "c"), (2, "b")]


def test_what_the_file_replaces_is_found_where_the_key_has_other_names(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql('CREATE TABLE people ("Id" integer PRIMARY KEY, name text)')
    register(_derive(rename={"Person No": "Id"}, model=None, key=None))
    items = [{"Person No": str(number % 50), "name": f"n{number}"} for number in range(100)]

    summary = _import(manager, items)

    assert (summary.completed_items, summary.skipped_items) == (50, 50)
    assert sql("SELECT count(*) FROM people WHERE name = 'n' || (\"Id\" + 50)") == [(50,)]


def test_a_processor_may_say_that_duplicates_are_all_processed(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(natural_key=()))

    summary = _import(manager, [{"id": number % 10, "name": f"n{number}"} for number in range(100)])

    assert summary.completed_items == 100
    assert sql("SELECT count(*) FROM people WHERE name = 'n' || (id + 90)") == [(10,)]


# Rows that exist


def test_only_what_differs_is_updated(manager: BatchManager, people: None, sql: Sql) -> None:
    _import(manager, _ids(range(100)))
    versions = dict(sql("SELECT id, xmin::text FROM people"))
    sql(AUDIT)

    summary = _import(
        manager, [{"id": number, "name": "new" if number == 50 else f"n{number}"} for number in range(100)]
    )

    assert summary.completed_items == 100
    assert sql("SELECT * FROM audit") == [("update", 50)]
    now = dict(sql("SELECT id, xmin::text FROM people"))
    assert [number for number in now if now[number] != versions[number]] == [50]


def test_a_null_that_becomes_a_value_differs_and_a_null_that_stays_does_not(
    manager: BatchManager, people: None, sql: Sql
) -> None:
    _import(manager, [{"id": 1, "name": None}, {"id": 2, "name": None}, {"id": 3, "name": "c"}])
    sql(AUDIT)

    _import(manager, [{"id": 1, "name": "a"}, {"id": 2, "name": None}, {"id": 3, "name": None}])

    assert sql("SELECT what, id FROM audit ORDER BY id") == [("update", 1), ("update", 3)]
    assert sql("SELECT id, name FROM people ORDER BY 1") == [(1, "a"), (2, None), (3, None)]


@pytest.mark.parametrize(
    ("column", "first", "second", "differs"),
    [
        ("json", {"a": 1}, {"a": 1}, False),
        ("json", {"a": 1}, {"a": 2}, True),
        ("jsonb", {"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ("point", "(1,2)", "(1,2)", False),
        ("point", "(1,2)", "(1,3)", True),
        ("numeric", "1.0", "1.00", True),
        ("citext", "Ann", "ann", True),
        ("double precision", "0", "-0", True),
        ("interval", "1 day", "24 hours", True),
        ("text[]", ["a"], ["a"], False),
        ("char(5)", "ab", "ab ", False),
    ],
)
def test_a_value_differs_when_the_column_would_show_another(
    manager: BatchManager, register: Register, sql: Sql, column: str, first: Any, second: Any, differs: bool
) -> None:
    class Row(pydantic.BaseModel):
        id: int
        value: Any

    sql("CREATE EXTENSION citext")
    sql(f"CREATE TABLE people (id integer PRIMARY KEY, value {column})")
    register(_derive(model=Row))
    _import(manager, [{"id": number, "value": first} for number in range(20)])
    before = sql("SELECT id, xmin::text FROM people ORDER BY 1")

    summary = _import(manager, [{"id": number, "value": second} for number in range(20)])

    assert summary.completed_items == 20
    after = sql("SELECT id, xmin::text FROM people ORDER BY 1")
    assert len(set(before) & set(after)) == (0 if differs else 20)


def test_an_unchanged_row_takes_no_number_of_a_sequence(manager: BatchManager, people: None, sql: Sql) -> None:
    sql("ALTER TABLE people ADD COLUMN serial bigserial")
    _import(manager, _ids(range(100)))

    _import(manager, _ids(range(100)))

    assert sql("SELECT last_value FROM people_serial_seq") == [(100,)]


def test_rewriting_updates_rows_that_are_the_same_too(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(existing="rewrite"))
    _import(manager, _ids(range(60)))
    sql(AUDIT)

    assert _import(manager, _ids(range(60))).completed_items == 60

    assert sql("SELECT what, count(*) FROM audit GROUP BY 1") == [("update", 60)]


def test_a_row_that_is_to_be_kept_is_kept_and_its_item_skipped(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(existing="keep"))
    sql("INSERT INTO people SELECT number, 'old' FROM generate_series(0, 9) AS number")
    sql(AUDIT)
    batch_id = manager.create_batch("people", _ids(range(60)))

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (50, 10)
    assert sql("SELECT name, count(*) FROM people WHERE id < 10 GROUP BY 1") == [("old", 10)]
    assert sql("SELECT what, count(*) FROM audit GROUP BY 1") == [("insert", 50)]
    assert all("people" in text for text in said(manager, batch_id))


def test_a_column_that_is_never_updated_is_written_on_insert_only(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(never_updated=("phone",)))
    _import(manager, [{"id": number, "name": "a", "phone": "1"} for number in range(60)])
    sql(AUDIT)

    _import(manager, [{"id": number, "name": "a" if number else "b", "phone": "2"} for number in range(61)])

    assert sql("SELECT name, phone, count(*) FROM people GROUP BY 1, 2 ORDER BY 1, 2") == [
        ("a", "1", 59),
        ("a", "2", 1),
        ("b", "1", 1),
    ]
    assert sql("SELECT what, id FROM audit ORDER BY 2") == [("update", 0), ("insert", 60)]


def test_a_row_that_is_its_key_alone_is_left_as_it_is(manager: BatchManager, register: Register, sql: Sql) -> None:
    class Id(pydantic.BaseModel):
        id: int

    sql("CREATE TABLE people (id integer PRIMARY KEY)")
    register(_derive(model=Id))
    _import(manager, [{"id": number} for number in range(60)])
    before = sql("SELECT id, xmin::text FROM people ORDER BY 1")

    assert _import(manager, [{"id": number} for number in range(60)]).completed_items == 60

    assert sql("SELECT id, xmin::text FROM people ORDER BY 1") == before


@pytest.mark.parametrize("returning", [None, "name"], ids=["declared", "at once"])
def test_an_upsert_of_ones_own_can_say_the_same(
    manager: BatchManager, register: Register, people: None, sql: Sql, returning: str | None
) -> None:
    returned = []

    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            data = dict(item.source_data)
            options = data.pop("options")
            returned.append(ctx.upsert("people", data, key="id", returning=returning, **options))

    register(OwnProcessor)
    sql("INSERT INTO people SELECT number, 'old', '1' FROM generate_series(1, 4) AS number")
    sql(AUDIT)
    new = {"name": "new", "phone": "2"}
    items = [
        {"id": 1, "name": "old", "phone": "1", "options": {}},
        {"id": 2, "name": "old", "phone": "1", "options": {"existing": "rewrite"}},
        {"id": 3, **new, "options": {"existing": "keep"}},
        {"id": 4, **new, "options": {"never_updated": "phone"}},
        {"id": 5, **new, "options": {"existing": "keep", "never_updated": ["phone"]}},
    ]

    _import(manager, items, "own")

    assert sql("SELECT * FROM people ORDER BY 1") == [
        (1, "old", "1"),
        (2, "old", "1"),
        (3, "old", "1"),
        (4, "new", "1"),
        (5, "new", "2"),
    ]
    assert sql("SELECT what, id FROM audit ORDER BY 2") == [("update", 2), ("update", 4), ("insert", 5)]
    assert returned == ([None] * 5 if returning is None else ["old", "old", "old", "new", "new"])


# Names, and targets that are no plain tables


def test_an_identity_that_is_always_generated_is_written(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE people (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, phone text)")
    register(PeopleProcessor)

    assert _import(manager, _ids(range(60))).completed_items == 60
    assert _import(manager, [{"id": 7, "name": "seven"}]).completed_items == 1

    assert sql("SELECT count(*), max(name) FILTER (WHERE id = 7) FROM people") == [(60, "seven")]


def test_columns_that_python_cannot_spell_are_named(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql('CREATE TABLE people ("Person №" integer PRIMARY KEY, "full ""name"" %" text, phone text)')
    rename = {"id": "Person №", "name": 'full "name" %'}
    register(_derive(rename=rename, key=("Person №",), model=None))

    assert _import(manager, _ids(range(60))).completed_items == 60

    assert sql('SELECT "full ""name"" %%" FROM people WHERE "Person №" = %s', 7) == [("n7",)]


def test_a_key_and_what_is_never_updated_may_be_named_by_their_columns(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql('CREATE TABLE people ("Id" integer PRIMARY KEY, "Name" text, phone text)')
    rename = {"id": "Id", "name": "Name"}
    register(_derive(rename=rename, key=("Id",), never_updated=("Name",), model=None))

    _import(manager, [{"id": 1, "name": "a", "phone": "1"}])
    _import(manager, [{"id": 1, "name": "b", "phone": "2"}])

    assert sql("SELECT * FROM people") == [(1, "a", "2")]


@pytest.mark.parametrize(
    ("table", "created"),
    [
        ('sales."q1.2024"', 'sales."q1.2024"'),
        ('"sales"."q1.2024"', 'sales."q1.2024"'),
        ('sales."say ""x"""', 'sales."say ""x"""'),
        ("sales.Mixed", 'sales."Mixed"'),
        ('"q1.2024"', '"q1.2024"'),
        ('sales."a %s"', 'sales."a %%s"'),
    ],
)
def test_a_table_may_have_a_name_with_a_dot_in_it(
    manager: BatchManager, register: Register, sql: Sql, table: str, created: str
) -> None:
    sql("CREATE SCHEMA sales")
    created = created.replace("%%", "%")
    sql(f"CREATE TABLE {created} (id integer PRIMARY KEY, name text, phone text)")
    register(_derive(table=table))

    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            assert ctx.upsert(table, item.source_data, key="id", returning="id") == item.source_data["id"]
            assert ctx.lookup(table, {"id": 1}, column="name") == "n1"

    register(OwnProcessor)

    assert _import(manager, _ids(range(60))).completed_items == 60
    assert _import(manager, [{"id": 100, "name": "own"}], "own").completed_items == 1
    assert sql(f"SELECT count(*) FROM {created}") == [(61,)]


def test_a_view_with_a_trigger_takes_its_rows(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE kept (id integer PRIMARY KEY, name text, phone text)")
    sql("CREATE VIEW people AS SELECT * FROM kept")
    sql(
        "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO kept VALUES (NEW.id, upper(NEW.name)) "
        "ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name; RETURN NEW; END $$"
    )
    sql("CREATE TRIGGER kept INSTEAD OF INSERT ON people FOR EACH ROW EXECUTE FUNCTION keep()")
    register(PeopleProcessor)

    assert _import(manager, _ids(range(60))).completed_items == 60
    assert _import(manager, [{"id": 7, "name": "seven"}]).completed_items == 1

    assert sql("SELECT count(*), max(name) FILTER (WHERE id = 7) FROM kept") == [(60, "SEVEN")]


def test_a_view_over_one_table_takes_its_rows(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE kept (id integer PRIMARY KEY, name text, phone text)")
    sql("CREATE VIEW people AS SELECT * FROM kept WHERE id < 50 WITH CHECK OPTION")
    register(PeopleProcessor)

    first = _import(manager, _ids(range(60)))
    second = _import(manager, [{"id": 7, "name": "seven"}])

    assert (first.completed_items, first.failed_items, second.completed_items) == (50, 10, 1)
    assert sql("SELECT count(*), max(name) FILTER (WHERE id = 7) FROM kept") == [(50, "seven")]


def test_a_table_with_a_rule_beside_it_takes_its_rows(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    sql("CREATE TABLE copies (id integer)")
    sql("CREATE RULE copied AS ON INSERT TO people DO ALSO INSERT INTO copies VALUES (NEW.id)")

    assert _import(manager, _ids(range(60))).completed_items == 60

    assert sql("SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM copies)") == [(60, 60)]


@pytest.mark.parametrize("kind", ["RANGE (id)", "LIST (id)", "HASH (id)"])
def test_a_partitioned_table_takes_its_rows(manager: BatchManager, register: Register, sql: Sql, kind: str) -> None:
    sql(f"CREATE TABLE people (id integer PRIMARY KEY, name text, phone text) PARTITION BY {kind}")
    bounds = {
        "RANGE (id)": ["FROM (0) TO (30)", "FROM (30) TO (50)"],
        "LIST (id)": [f"IN ({number})" for number in range(50)],
        "HASH (id)": ["WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"],
    }[kind]
    for number, bound in enumerate(bounds):
        sql(f"CREATE TABLE people_{number} PARTITION OF people FOR VALUES {bound}")
    register(PeopleProcessor)

    for _ in range(2):
        summary = _import(manager, _ids(range(60)))
        completed = 60 if kind.startswith("HASH") else 50
        assert (summary.completed_items, summary.failed_items) == (completed, 60 - completed)

    assert sql("SELECT count(*) FROM people") == [(completed,)]


# Fields that the source did not have


def test_a_field_that_the_source_did_not_have_leaves_its_column(
    manager: BatchManager, people: None, sql: Sql, tmp_path: Path
) -> None:
    for number, lines in enumerate(["id,name,phone\n1,Ann,555\n2,Bob,556\n", "id,name,Phone\n1,Anna,999\n2,Bob,999\n"]):
        source = tmp_path / f"{number}.csv"
        source.write_text(lines)
        summary = manager.process_batch(manager.create_batch("people", manager.open_source("people", source)))
        assert summary.completed_items == 2

    assert sql("SELECT * FROM people ORDER BY 1") == [(1, "Anna", "555"), (2, "Bob", "556")]


def test_a_field_that_some_items_lack_is_left_in_these(manager: BatchManager, people: None, sql: Sql) -> None:
    _import(manager, [{"id": number, "name": "old", "phone": "1"} for number in range(60)])

    _import(manager, [{"id": number, "name": "new", **({"phone": "2"} if number % 2 else {})} for number in range(60)])

    assert sql("SELECT name, phone, count(*) FROM people GROUP BY 1, 2 ORDER BY 2") == [
        ("new", "1", 30),
        ("new", "2", 30),
    ]


def test_nothing_that_was_given_is_written(manager: BatchManager, people: None, sql: Sql) -> None:
    _import(manager, [{"id": number, "name": "old", "phone": "1"} for number in range(60)])

    _import(manager, [{"id": number, "name": None} for number in range(60)])

    assert sql("SELECT name, phone, count(*) FROM people GROUP BY 1, 2") == [(None, "1", 60)]


def test_a_null_token_is_nothing_that_was_given(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(null_tokens=frozenset({""})))
    _import(manager, [{"id": 1, "name": "old", "phone": "1"}])

    _import(manager, [{"id": 1, "name": ""}])

    assert sql("SELECT * FROM people") == [(1, None, "1")]


class Entry(pydantic.BaseModel):
    number: int = pydantic.Field(alias="Entry No")
    created_at: str | None = None
    state: str = "model"
    note: str | None = None
    tags: list[str] = []
    full: str = pydantic.Field(default="", validate_default=True)

    @pydantic.field_validator("full")
    @classmethod
    def _never_empty(cls, value: str) -> str:
        return value or "made"


class EntriesProcessor(TableProcessor):
    table = "entries"
    key = ("number",)
    model = Entry


def test_a_column_takes_its_default_where_the_source_has_no_field(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql(
        "CREATE TABLE entries (number integer PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT '2024-01-01', "
        "state text NOT NULL DEFAULT 'table', note text DEFAULT 'noted', tags jsonb, \"full\" text)"
    )
    register(EntriesProcessor)

    assert _import(manager, [{"Entry No": number} for number in range(60)], "entries").failed_items == 0

    assert sql('SELECT created_at::date::text, state, note, tags::text, "full", count(*) FROM entries '
               "GROUP BY 1, 2, 3, 4, 5") == [("2024-01-01", "table", "noted", "[]", "made", 60)]  # fmt: skip


def test_a_default_of_the_model_is_written_on_insert_only(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE entries (number integer PRIMARY KEY, created_at text, state text, note text, tags jsonb, "
        '"full" text)')  # fmt: skip
    register(EntriesProcessor)
    _import(manager, [{"Entry No": 1, "state": "open", "tags": ["x"]}], "entries")

    _import(manager, [{"Entry No": 1, "note": "seen"}, {"Entry No": 2}], "entries")

    assert sql("SELECT number, state, note, tags::text FROM entries ORDER BY 1") == [
        (1, "open", "seen", '["x"]'),
        (2, "model", None, "[]"),
    ]


def test_a_row_that_was_changed_by_the_processor_is_written_as_it_says(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    class LoudProcessor(PeopleProcessor):
        batch_type = "people"

        def to_row(self, item: ImportBatchItem) -> Any:
            return {**super().to_row(item), "phone": "from to_row"}

    register(LoudProcessor)
    _import(manager, [{"id": 1, "name": "a", "phone": "1"}])

    _import(manager, [{"id": 1}])

    assert sql("SELECT * FROM people") == [(1, "a", "from to_row")]


# Targets that cannot work


BROKEN = {
    "a table that is not there": (
        "ALTER TABLE people RENAME TO persons", "ALTER TABLE persons RENAME TO people", {}, ["people"],
    ),
    "a schema that is not there": (
        "SELECT 1", "CREATE SCHEMA nowhere; ALTER TABLE people SET SCHEMA nowhere", {"table": "nowhere.people"},
        ["nowhere"],
    ),
    "a column that is not there": (
        "ALTER TABLE people RENAME name TO full_name", "ALTER TABLE people RENAME full_name TO name", {},
        ["name", "people"],
    ),
    "a key without a unique index": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey; CREATE INDEX ON people (id)",
        "CREATE UNIQUE INDEX ON people (id)", {}, ["CREATE UNIQUE INDEX", "people", "id"],
    ),
    "a key of other columns than the index": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey; CREATE UNIQUE INDEX ON people (id, name)",
        "CREATE UNIQUE INDEX ON people (id)", {}, ["CREATE UNIQUE INDEX", "id"],
    ),
    "a constraint that is deferrable": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey; ALTER TABLE people ADD PRIMARY KEY (id) DEFERRABLE",
        "ALTER TABLE people DROP CONSTRAINT people_pkey; ALTER TABLE people ADD PRIMARY KEY (id)", {},
        ["deferrable", "people_pkey"],
    ),
    "a constraint that is deferred": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey; "
        "ALTER TABLE people ADD PRIMARY KEY (id) DEFERRABLE INITIALLY DEFERRED",
        "ALTER TABLE people DROP CONSTRAINT people_pkey; CREATE UNIQUE INDEX ON people (id)", {},
        ["deferrable", "people_pkey"],
    ),
    "a constraint that is deferrable beside an index": (
        "ALTER TABLE people DROP CONSTRAINT people_pkey; CREATE UNIQUE INDEX plain ON people (id); "
        "ALTER TABLE people ADD PRIMARY KEY (id) DEFERRABLE",
        "ALTER TABLE people DROP CONSTRAINT people_pkey", {}, ["deferrable", "people_pkey"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_target_that_cannot_work_is_found_before_the_first_item(
    manager: BatchManager, register: Register, people: None, sql: Sql, name: str
) -> None:
    breaking, repair, attributes, words = BROKEN[name]
    register(_derive(**attributes))
    sql(breaking)
    batch_id = manager.create_batch("people", _ids(range(100)))

    for _ in range(2):
        summary = manager.process_batch(batch_id)

        assert summary.status is BatchStatus.PAUSED
        assert [word for word in words if word not in (summary.pause_reason or "")] == []
        assert sql("SELECT count(*) FROM reliable_imports.import_attempts") == [(0,)]

    sql(repair)
    assert manager.process_batch(batch_id).completed_items == 100


def test_an_index_that_is_not_valid_is_none(manager: BatchManager, people: None, sql: Sql) -> None:
    sql("ALTER TABLE people DROP CONSTRAINT people_pkey")
    sql("INSERT INTO people VALUES (7), (7)")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        sql("CREATE UNIQUE INDEX CONCURRENTLY half_made ON people (id)")
    sql("TRUNCATE people")
    batch_id = manager.create_batch("people", _ids(range(60)))

    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.open_items) == (BatchStatus.PAUSED, 60)
    sql("REINDEX INDEX half_made")
    assert manager.process_batch(batch_id).completed_items == 60


def test_a_unique_index_that_is_not_there_is_found_before_the_first_item(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    register(_derive(key=reliable_imports.UniqueIndex("people_id")))
    batch_id = manager.create_batch("people", _ids(range(60)))

    summary = manager.process_batch(batch_id)

    assert summary.status is BatchStatus.PAUSED
    assert "people_id" in (summary.pause_reason or "")
    assert "people_pkey" in (summary.pause_reason or ""), "those that are there are named"
    sql("ALTER INDEX people_pkey RENAME TO people_id")
    assert manager.process_batch(batch_id).completed_items == 60


def test_a_target_that_goes_away_meanwhile_pauses_the_batch(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    def drop(summary: Any) -> None:
        sql("ALTER TABLE people DROP CONSTRAINT IF EXISTS people_pkey")

    batch_id = manager.create_batch("people", _ids(range(20_000)))

    summary = manager.process_batch(batch_id, on_progress=drop)

    sql("ALTER TABLE people ADD PRIMARY KEY (id)")
    if summary.status is not BatchStatus.COMPLETED:  # a fast machine was done before
        assert (summary.status, summary.failed_items) == (BatchStatus.PAUSED, 0)
        manager.process_batch(batch_id)
    assert manager.get_summary(batch_id).completed_items == 20_000


def test_an_upsert_of_ones_own_without_an_index_fails_few_items(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("people", item.source_data, key="name")

    register(OwnProcessor)

    summary = _import(manager, _ids(range(500)), "own")

    assert summary.status is BatchStatus.PAUSED
    assert summary.failed_items < 50
    assert "42P10" in (summary.pause_reason or "") or "unique" in (summary.pause_reason or "")


# NULL in a key


class Price(pydantic.BaseModel):
    sku: str
    variant: str | None = None
    price: int


class PricesProcessor(TableProcessor):
    table = "prices"
    key = ("sku", "variant")
    model = Price
    null_tokens = frozenset({""})


PRICES = [{"sku": f"A{number}", "variant": "" if number % 10 == 0 else "xl", "price": 1} for number in range(60)]


def test_a_null_in_a_key_fails_its_item(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE prices (sku text NOT NULL, variant text, price integer, UNIQUE (sku, variant))")
    register(PricesProcessor)

    for _ in range(3):
        batch_id = manager.create_batch("prices", PRICES)
        summary = manager.process_batch(batch_id)
        assert (summary.completed_items, summary.failed_items) == (54, 6)

    assert sql("SELECT count(*), count(variant) FROM prices") == [(54, 54)]
    (reason,) = manager.failure_reasons(batch_id)
    assert (reason.items, reason.retryable_items) == (6, 0)
    assert "variant" in said(manager, batch_id)[0]
    assert "null_keys" in said(manager, batch_id)[0]


def test_a_key_field_that_the_source_did_not_have_is_a_null_too(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE prices (sku text NOT NULL, variant text, price integer, UNIQUE (sku, variant))")
    register(PricesProcessor)

    batch_id = manager.create_batch("prices", [{"sku": "A", "price": 1}, {"sku": "A", "variant": "xl", "price": 1}])

    assert manager.process_batch(batch_id).failed_items == 1
    assert said(manager, batch_id)[0].startswith("1 failed")


def test_rows_with_a_null_in_their_key_are_inserted_where_the_processor_says_so(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE prices (sku text NOT NULL, variant text, price integer, UNIQUE (sku, variant))")
    register(_derive(PricesProcessor, null_keys="insert"))

    for _ in range(2):
        assert _import(manager, PRICES, "prices").completed_items == 60

    assert sql("SELECT count(*), count(variant) FROM prices") == [(66, 54)]


def test_an_upsert_of_ones_own_inserts_a_row_with_a_null_in_its_key(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            row = {"sku": "A", "variant": None, "price": 1}
            options = {"null_keys": "fail"} if item.source_data.get("fail") else {}
            ctx.upsert("prices", row, key=("sku", "variant"), **options)

    sql("CREATE TABLE prices (sku text NOT NULL, variant text, price integer, UNIQUE (sku, variant))")
    register(OwnProcessor)

    summary = _import(manager, [{}, {}, {"fail": True}], "own")

    assert (summary.completed_items, summary.failed_items) == (2, 1)
    assert sql("SELECT count(*) FROM prices") == [(2,)]


def test_nulls_that_the_index_takes_for_equal_are_a_key(manager: BatchManager, register: Register, sql: Sql) -> None:
    if sql("SHOW server_version_num")[0][0] < "150000":
        pytest.skip("NULLS NOT DISTINCT came with PostgreSQL 15")
    sql("CREATE TABLE prices (sku text, variant text, price integer, UNIQUE NULLS NOT DISTINCT (sku, variant))")
    register(PricesProcessor)

    for price in (1, 2):
        summary = _import(manager, [{**row, "price": price} for row in PRICES], "prices")
        assert (summary.completed_items, summary.failed_items) == (60, 0)

    assert sql("SELECT count(*), min(price) FROM prices") == [(60, 2)]


# Rows that a trigger or a rule leaves out


LEAVES_OUT = {
    "a trigger": """
        CREATE FUNCTION no_sevens() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF NEW.id % 7 = 0 THEN RETURN NULL; END IF; RETURN NEW; END $$;
        CREATE TRIGGER no_sevens BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION no_sevens()
    """,
    "a rule": "CREATE RULE no_sevens AS ON INSERT TO people WHERE NEW.id % 7 = 0 DO INSTEAD NOTHING",
}


@pytest.mark.parametrize("how", LEAVES_OUT)
@pytest.mark.parametrize("count", [1, 100], ids=["alone", "in bulk"])
@pytest.mark.promise(6)
def test_an_item_whose_row_was_left_out_is_skipped(
    manager: BatchManager, people: None, sql: Sql, how: str, count: int
) -> None:
    sql(LEAVES_OUT[how])
    batch_id = manager.create_batch("people", _ids(range(count)))

    summary = manager.process_batch(batch_id)

    left_out = [number + 1 for number in range(count) if number % 7 == 0]
    items = manager.list_items(batch_id, limit=1000)
    assert [item.item_number for item in items if item.status == "skipped"] == left_out
    assert summary.completed_items == count - len(left_out) == sql("SELECT count(*) FROM people")[0][0]
    assert all("people" in text for text in said(manager, batch_id))
    assert [item for item in items if item.status == "skipped" and (item.result or {}).get("target_id")] == []


@pytest.mark.parametrize("how", LEAVES_OUT)
def test_a_row_that_was_inserted_and_left_out_skips_its_item_too(
    manager: BatchManager, register: Register, people: None, sql: Sql, how: str
) -> None:
    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            ctx.insert("people", item.source_data)
            return {"target_table": "people", "target_id": item.source_data["id"]}

    sql(LEAVES_OUT[how])
    register(OwnProcessor)

    summary = _import(manager, _ids(range(70)), "own")

    assert (summary.completed_items, summary.skipped_items) == (60, 10)


@pytest.mark.parametrize("count", [1, 100], ids=["alone", "in bulk"])
def test_what_a_trigger_writes_elsewhere_instead_of_the_row_is_kept(
    manager: BatchManager, people: None, sql: Sql, count: int
) -> None:
    sql("CREATE TABLE elsewhere (id integer, seen bigint)")
    sql(
        "CREATE FUNCTION move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.id % 7 <> 0 THEN RETURN NEW; END IF; "
        "INSERT INTO elsewhere SELECT NEW.id, count(*) FROM people; RETURN NULL; END $$"
    )
    sql("CREATE TRIGGER moved BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION move()")

    summary = _import(manager, _ids(range(count)))

    moved = [(number, number - number // 7) for number in range(0, count, 7)]
    assert (summary.completed_items, summary.skipped_items) == (count - len(moved), len(moved))
    assert sql("SELECT * FROM elsewhere ORDER BY 1") == moved, "once each, and in their order"


def test_an_update_that_a_trigger_leaves_out_skips_its_item(manager: BatchManager, people: None, sql: Sql) -> None:
    _import(manager, _ids(range(60)))
    sql(LEAVES_OUT["a trigger"].replace("BEFORE INSERT", "BEFORE UPDATE"))
    batch_id = manager.create_batch("people", [{"id": number, "name": "new"} for number in range(60)])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (51, 9)
    assert sql("SELECT count(*) FROM people WHERE name = 'new'") == [(51,)]


def test_an_item_with_another_write_completes_and_says_what_was_left_out(
    manager: BatchManager, register: Register, people: None, sql: Sql
) -> None:
    class OwnProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("people", item.source_data, key="id")
            ctx.insert("others", {"id": item.source_data["id"]})

    sql("CREATE TABLE others (id integer)")
    sql(LEAVES_OUT["a trigger"])
    register(OwnProcessor)
    batch_id = manager.create_batch("own", _ids(range(60)))

    summary = manager.process_batch(batch_id)

    assert summary.completed_items == 60
    assert sql("SELECT (SELECT count(*) FROM people), (SELECT count(*) FROM others)") == [(51, 60)]
    lines = [line for line in manager.list_logs(batch_id) if line.item_number is not None]
    assert [line.item_number for line in lines] == list(range(1, 61, 7))
    assert all("people" in line.message for line in lines)


def test_a_key_that_a_trigger_changes_is_no_target_id(manager: BatchManager, people: None, sql: Sql) -> None:
    sql(
        "CREATE FUNCTION renumber() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.id < 50 THEN NEW.id := NEW.id + 1000; END IF; RETURN NEW; END $$"
    )
    sql("CREATE TRIGGER renumbered BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION renumber()")

    batch_id = manager.create_batch("people", _ids(range(49, 51)))
    manager.process_batch(batch_id)

    assert [item.result for item in manager.list_items(batch_id)] == [
        {"target_table": "people"},
        {"target_table": "people", "target_id": 50},
    ]
