"""Rows that the server will likely refuse are left out of the statement that writes the others.

Whatever is predicted, rightly or wrongly, rows and failures are those of single INSERTs in item order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import psycopg2
import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from tests.writes.conftest import Register, Sql

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(3)]

Row = dict[str, Any]
PARENTS = """
CREATE TABLE parents (a integer, b integer, name text UNIQUE, PRIMARY KEY (a, b));
INSERT INTO parents VALUES (1, 1, 'here'), (2, 2, 'There');
"""


class RowsProcessor(BaseProcessor):
    batch_type = "rows"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("target", item.source_data, key="id")


@pytest.fixture
def import_rows(manager: BatchManager, register: Register, sql: Sql) -> Callable[..., dict[int, str]]:
    """Imports the rows, and returns the SQLSTATEs of the items that have failed."""
    register(RowsProcessor)

    def run(rows: Sequence[Row]) -> dict[int, str]:
        batch_id = manager.create_batch("rows", rows)
        manager.process_batch(batch_id)
        return dict(
            sql(
                "SELECT item_number, sqlstate FROM reliable_imports.import_attempts "
                "WHERE batch_id = %s AND outcome = 'failed' ORDER BY item_number",
                batch_id,
            )
        )

    return run


def statements(sql: Sql, where: str) -> int:
    """How many statements have written the rows that stand."""
    return len(sql(f"SELECT DISTINCT xmin::text, cmin::text FROM target WHERE {where}"))


class Case(NamedTuple):
    """A table, and values of which the server refuses some."""

    columns: str
    good: Row
    bad: Sequence[Row]
    sqlstate: str
    partitioned: str = ""
    stands: Row | None = None


CASES = {
    "a reference": Case("name text REFERENCES parents (name)", {"name": "here"}, [{"name": "gone"}], "23503"),
    "a reference with a NULL": Case(
        "name text REFERENCES parents (name)", {"name": None}, [{"name": "gone"}, {"name": "HERE"}], "23503"
    ),
    "a reference of another type": Case(
        "name varchar(9) REFERENCES parents (name)", {"name": "There"}, [{"name": "there"}], "23503"
    ),
    "a reference by two columns": Case(
        "a bigint, b integer, FOREIGN KEY (a, b) REFERENCES parents", {"a": 1, "b": 1}, [{"a": 1, "b": 2}], "23503"
    ),
    "a reference by two columns, one NULL": Case(
        "a integer, b integer, FOREIGN KEY (a, b) REFERENCES parents", {"a": 9, "b": None}, [{"a": 9, "b": 9}], "23503"
    ),
    "MATCH FULL": Case(
        "a integer, b integer, FOREIGN KEY (a, b) REFERENCES parents MATCH FULL",
        {"a": None, "b": None},
        [{"a": 1, "b": None}, {"a": 1, "b": 2}],
        "23503",
    ),
    "a partitioned table": Case(
        "name text REFERENCES parents (name)", {"name": "here"}, [{"name": "gone"}], "23503", "PARTITION BY HASH (id)"
    ),
    "NOT NULL": Case("n integer NOT NULL", {"n": 0}, [{"n": None}], "23502"),
    "a check": Case('"N" integer, CHECK ("N" > id - 1000)', {"N": 0}, [{"N": -2000}], "23514"),
    "a check with a NULL": Case("n integer CHECK (n > 0)", {"n": None}, [{"n": 0}], "23514"),
    "a domain": Case("n positive", {"n": 1}, [{"n": 0}, {"n": -1}], "23514"),
    "a length": Case("name varchar(3)", {"name": "abc"}, [{"name": "abcd"}], "22001"),
    "a padded length": Case("name char(3)", {"name": "abc  "}, [{"name": "abcd"}], "22001"),
    "a text that is no number": Case("n integer", {"n": "7"}, [{"n": "x"}], "22P02"),
    "a number that is too large": Case("n smallint", {"n": 7}, [{"n": 70_000}], "22003"),
    "a label": Case("mood mood", {"mood": "good"}, [{"mood": "bad"}], "22P02"),
    "a value of another row": Case(
        "code integer UNIQUE", {"code": None}, [{"code": 7}], "23505", stands={"id": -1, "code": 7}
    ),
    "a value of another row by two columns": Case(
        'code char(3), "Year" smallint, UNIQUE (code, "Year")',
        {"code": "a", "Year": None},
        [{"code": "b ", "Year": 1}],
        "23505",
        stands={"id": -1, "code": "b", "Year": 1},
    ),
    "a value of another row, rounded": Case(
        "code numeric(6, 2) UNIQUE",
        {"code": None},
        [{"code": "7.004"}, {"code": 7}],
        "23505",
        stands={"id": -1, "code": 7},
    ),
    "an array": Case("n integer[]", {"n": [1, None]}, [{"n": [1, "x"]}], "22P02"),
}


@pytest.mark.parametrize("name", CASES)
def test_rows_that_will_be_refused_are_foreseen(
    import_rows: Callable[..., dict[int, str]], sql: Sql, name: str
) -> None:
    case = CASES[name]
    sql(PARENTS)
    sql("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
    sql("CREATE TYPE mood AS ENUM ('good')")
    sql(f"CREATE TABLE target (id integer PRIMARY KEY, {case.columns}) {case.partitioned}")
    if case.partitioned:
        sql("CREATE TABLE target_0 PARTITION OF target FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
        sql("CREATE TABLE target_1 PARTITION OF target FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    if case.stands:
        assert import_rows([case.stands]) == {}
    bad = {number: case.bad[number % len(case.bad)] for number in range(3, 150, 7)}

    failed = import_rows([{"id": number, **bad.get(number, case.good)} for number in range(150)])

    assert failed == {number + 1: case.sqlstate for number in bad}
    assert sql("SELECT count(*) FROM target WHERE id >= 0") == [(150 - len(bad),)]
    if sql("SELECT current_setting('server_version_num')::integer >= 160000") == [(True,)]:
        assert statements(sql, "id >= 100") == 1, "the last chunk knows what the first one has met"


def test_the_first_rows_are_not_sent_in_vain(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    """Nothing was refused before, and yet all is looked for: a statement that is undone would use up numbers."""
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer CHECK (n > 0), place bigserial)")

    assert import_rows([{"id": number, "n": 0 if number == 30 else 1} for number in range(150)]) == {31: "23514"}

    assert sql("SELECT array_agg(place ORDER BY id) FROM target WHERE id < 30") == [(list(range(1, 31)),)]


def test_a_row_that_was_suspected_for_nothing_is_written_in_its_turn(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    """The CHECK is looked at before the value is rounded, so 10.004 looks bad."""
    sql("CREATE TABLE target (id integer PRIMARY KEY, n numeric(6, 2) CHECK (n <= 10), who text)")
    rows = [{"id": number, "n": "11" if number == 5 else "1", "who": "first"} for number in range(150)]
    rows[60] |= {"n": "10.004"}
    rows[70] |= {"id": "060", "who": "second"}  # the same key to the server, and another text

    assert import_rows(rows) == {6: "23514"}

    assert sql("SELECT count(*) FROM target") == [(148,)]
    assert sql("SELECT n::text, who FROM target WHERE id = 60") == [("1.00", "second")]


def test_a_row_that_was_suspected_for_nothing_is_numbered_in_its_turn(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, n numeric(6, 2) CHECK (n <= 10), place bigserial)")
    rows = [{"id": number, "n": "11" if number == 5 else "1"} for number in range(150)]
    rows[60] |= {"n": "10.004"}

    assert import_rows(rows) == {6: "23514"}

    assert sql("SELECT id FROM target ORDER BY place") == sql("SELECT id FROM target ORDER BY id")
    assert sql("SELECT count(*) FROM target") == [(149,)]


def test_a_refused_row_that_nothing_foresaw_is_found(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    sql(PARENTS)
    sql(
        "CREATE TABLE target (id integer PRIMARY KEY, n numeric(6, 2) CHECK (n < 10), "
        "name text REFERENCES parents (name), m integer DEFAULT 1, CHECK (n + m < 10))"
    )
    rows: list[Row] = [{"id": number, "n": "1", "name": "here"} for number in range(200)]
    rows[5] |= {"n": "10", "name": "gone"}  # teaches the CHECK
    rows[7] |= {"name": "gone"}
    rows[60] |= {"n": "9.996"}  # is rounded up
    rows[110] |= {"n": "9"}  # the other CHECK reads a column that has its default
    rows[111] |= {"name": "gone"}
    rows[160] |= {"n": "9"}

    assert import_rows(rows) == {6: "23514", 8: "23503", 61: "23514", 111: "23514", 112: "23503", 161: "23514"}

    assert sql("SELECT count(*) FROM target") == [(194,)]


def test_a_check_that_raises_is_no_harm(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer, CHECK (100 / n > 1))")
    rows = [{"id": number, "n": 1} for number in range(150)]
    rows[5] |= {"n": 100}
    rows[60] |= {"n": 0}
    rows[61] |= {"n": 99}

    assert import_rows(rows) == {6: "23514", 61: "22012", 62: "23514"}

    assert sql("SELECT count(*) FROM target") == [(147,)]


class SettingsProcessor(RowsProcessor):
    batch_type = "settings"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.item_number < 50:
            super().process_item(item, ctx)
        else:
            ctx.log("how plans are made", mode=ctx.fetch_value("SELECT current_setting('plan_cache_mode')"))


def test_rows_that_go_one_by_one_leave_no_setting_behind(manager: BatchManager, register: Register, sql: Sql) -> None:
    register(SettingsProcessor)
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer NOT NULL)")
    batch_id = manager.create_batch("settings", [{"id": number, "n": number or None} for number in range(50)])

    manager.process_batch(batch_id)

    told = sql("SELECT details FROM reliable_imports.import_logs WHERE message = 'how plans are made'")
    assert told == [({"mode": "auto"},)]


def test_of_rows_that_want_the_same_value_the_first_gets_it(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, code text UNIQUE)")
    rows: list[Row] = [{"id": number, "code": f"c{number}"} for number in range(150)]
    for number in (5, 60, 110, 145):
        rows[number] |= {"code": rows[number - 2]["code"]}
        rows[number + 1] |= {"code": rows[number - 2]["code"]}

    assert import_rows(rows) == dict.fromkeys([6, 7, 61, 62, 111, 112, 146, 147], "23505")

    assert statements(sql, "id >= 100") == 1


def test_a_row_in_the_way_of_others_is_not_left_for_later(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    """A suspect that comes after the rows behind it may be refused for what these hold, and not for its own fault."""
    sql(PARENTS)
    sql("CREATE TABLE target (id integer PRIMARY KEY, code integer UNIQUE, name text REFERENCES parents (name))")
    rows: list[Row] = [{"id": number, "code": number, "name": "here"} for number in range(150)]
    rows[5] |= {"name": "gone"}
    rows[60] |= {"name": "gone"}
    rows[70] |= {"code": 60}
    rows[120] |= {"code": 61}
    rows[130] |= {"name": "gone"}
    rows[131] |= {"code": 130}

    assert import_rows(rows) == {6: "23503", 61: "23503", 121: "23505", 131: "23503"}


def test_a_row_that_takes_what_another_gives_up_is_written_in_its_turn(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, code integer UNIQUE)")
    assert import_rows([{"id": number, "code": number} for number in range(150)]) == {}
    rows: list[Row] = [{"id": number, "code": 1000 + number} for number in range(150)]
    rows[5] |= {"code": 6}
    rows[120] |= {"code": 110}  # 110 has moved away
    rows[121] |= {"code": 140}  # 140 has not

    assert import_rows(rows) == {6: "23505", 122: "23505"}


@pytest.mark.parametrize(
    ("constraint", "sqlstate"),
    [
        ("ALTER TABLE target ADD UNIQUE (code)", "23505"),
        ("CREATE UNIQUE INDEX ON target (code) WHERE code > 0", "23505"),
        ("CREATE UNIQUE INDEX ON target ((code + 0))", "23505"),
        ("ALTER TABLE target ADD twice integer GENERATED ALWAYS AS (code * 2) STORED UNIQUE", "23505"),
        ("ALTER TABLE target ADD EXCLUDE USING btree (code WITH =)", "23P01"),
    ],
)
def test_a_row_with_two_faults_is_refused_for_one_of_them(
    import_rows: Callable[..., dict[int, str]], sql: Sql, constraint: str, sqlstate: str
) -> None:
    """Once the row that is in its way has moved on, a suspect is refused for its other fault; if it has none, its turn
    counts."""
    sql(PARENTS)
    sql("CREATE TABLE target (id integer PRIMARY KEY, code integer, name text REFERENCES parents (name))")
    sql(f"{constraint}; INSERT INTO target SELECT -n, n FROM generate_series(1, 4) AS n")
    rows: list[Row] = [{"id": number, "code": 1000 + number, "name": "here"} for number in range(150)]
    rows[5] |= {"name": "gone"}
    rows[60] |= {"code": 1, "name": "gone"}
    rows[61] |= {"id": -1}
    rows[62] |= {"code": 2}
    rows[63] |= {"id": -2}
    rows[110] |= {"id": -3}
    rows[111] |= {"code": 3, "name": "gone"}
    rows[112] |= {"code": 4}

    failed = import_rows(rows)

    assert failed.pop(61) in ("23503", sqlstate)
    assert failed == {6: "23503", 63: sqlstate, 112: "23503", 113: sqlstate}


def test_two_rows_that_stand_under_no_key_want_the_same_value(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    sql("CREATE TABLE target (id integer UNIQUE, code integer UNIQUE)")
    sql("INSERT INTO target VALUES (NULL, -1)")
    rows: list[Row] = [{"id": number, "code": number} for number in range(150)]
    for number in (5, 110):
        rows[number] = {"id": None, "code": -1}

    assert import_rows(rows) == {6: "23505", 111: "23505"}

    assert statements(sql, "id >= 100") == 1


def test_values_are_equal_as_their_index_finds_them(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    """Also where the schema of their type is not searched, so that `=` alone would compare them as texts."""
    if sql("SELECT count(*) FROM pg_available_extensions WHERE name = 'citext'") == [(0,)]:
        pytest.skip("this server has no citext")
    sql("CREATE SCHEMA types; CREATE EXTENSION citext SCHEMA types")
    sql("CREATE TABLE target (id integer PRIMARY KEY, code types.citext UNIQUE, seat integer UNIQUE)")
    sql("INSERT INTO target VALUES (-1, 'moves', 7)")
    rows: list[Row] = [{"id": number, "code": f"c{number}", "seat": 1000 + number} for number in range(150)]
    rows[5] |= {"code": "C4"}
    rows[6] |= {"seat": 1000}
    rows[60] |= {"code": "C59"}
    rows[110] |= {"id": -1}
    rows[111] |= {"code": "new", "seat": 7}  # looks as if somebody had the seat
    rows[112] |= {"code": "NEW"}

    assert import_rows(rows) == {6: "23505", 7: "23505", 61: "23505", 113: "23505"}

    assert sql("SELECT id FROM target WHERE seat = 7") == [(111,)]
    assert statements(sql, "id BETWEEN 50 AND 99") == 1


class PartitionedProcessor(RowsProcessor):
    batch_type = "rows"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("target", item.source_data, key=("region", "id"))


def test_a_partition_may_call_a_constraint_by_another_name(
    import_rows: Callable[..., dict[int, str]], register: Register, sql: Sql
) -> None:
    register(PartitionedProcessor)
    sql(PARENTS)
    columns = "id integer, region integer, code integer, name text, PRIMARY KEY (region, id)"
    sql(
        f"CREATE TABLE target ({columns}, CONSTRAINT code UNIQUE (region, code), "
        "CONSTRAINT parent FOREIGN KEY (name) REFERENCES parents (name)) PARTITION BY LIST (region)"
    )
    for region in range(2):
        name = f"target_{region}"
        sql(
            f"CREATE TABLE {name} ({columns}, CONSTRAINT code_{region} UNIQUE (region, code), "
            f"CONSTRAINT parent_{region} FOREIGN KEY (name) REFERENCES parents (name))"
        )
        sql(f"ALTER TABLE target ATTACH PARTITION {name} FOR VALUES IN ({region})")
    rows: list[Row] = [{"id": number, "region": number % 2, "code": number, "name": "here"} for number in range(150)]
    for number in (9, 60, 101):
        rows[number] |= {"code": number - 2}
    for number in (11, 64, 122):
        rows[number] |= {"name": "gone"}

    failed = import_rows(rows)

    assert failed == dict.fromkeys([10, 61, 102], "23505") | dict.fromkeys([12, 65, 123], "23503")
    assert statements(sql, "id >= 50") == 2, "the first chunk has met both of either partition"


def test_what_only_a_partition_holds_apart_is_held_apart_in_item_order(
    import_rows: Callable[..., dict[int, str]], register: Register, sql: Sql
) -> None:
    """Rows with other columns are sent by another statement."""
    register(PartitionedProcessor)
    sql("CREATE TABLE target (id integer, region integer, code integer, n integer, PRIMARY KEY (region, id)) "
        "PARTITION BY LIST (region)")  # fmt: skip
    sql("CREATE TABLE target_0 PARTITION OF target (UNIQUE (code)) FOR VALUES IN (0)")
    rows: list[Row] = [{"id": number, "region": 0, "code": number} for number in range(40)]
    rows[20] |= {"code": 30, "n": 1}

    assert import_rows(rows) == {31: "23505"}


def test_a_parent_in_any_partition_is_a_parent(import_rows: Callable[..., dict[int, str]], sql: Sql) -> None:
    sql("CREATE TABLE parents (name text PRIMARY KEY) PARTITION BY LIST (name)")
    for name in ("here", "there"):
        sql(f"CREATE TABLE {name} PARTITION OF parents FOR VALUES IN ('{name}'); INSERT INTO parents VALUES ('{name}')")
    sql("CREATE TABLE target (id integer PRIMARY KEY, name text REFERENCES parents)")
    rows: list[Row] = [{"id": number, "name": "here"} for number in range(40)]
    rows[20] |= {"name": "gone"}

    assert import_rows(rows) == {21: "23503"}

    assert statements(sql, "true") == 1


def test_a_constraint_that_is_not_enforced_suspects_nobody(
    import_rows: Callable[..., dict[int, str]], sql: Sql
) -> None:
    sql(PARENTS)
    sql("CREATE TABLE target (id integer PRIMARY KEY, n integer, name text)")
    sql("INSERT INTO target VALUES (-1, -1, 'gone')")
    sql("ALTER TABLE target ADD CONSTRAINT n_check CHECK (n >= 0) NOT VALID")
    sql("ALTER TABLE target ADD CONSTRAINT name_fkey FOREIGN KEY (name) REFERENCES parents (name) NOT VALID")
    bad: dict[int, Row] = {number: {"n": -1} if number % 2 else {"name": "gone"} for number in range(3, 150, 7)}

    failed = import_rows([{"id": number, "n": 1, "name": "here", **bad.get(number, {})} for number in range(150)])

    # New rows are held to what old ones need not meet.
    assert failed == {number + 1: "23514" if number % 2 else "23503" for number in bad}
    assert statements(sql, "id >= 100") == 1


def test_parents_that_this_role_cannot_see_are_not_looked_for(manager: BatchManager, sql: Sql, database: str) -> None:
    """Nobody is suspected for them: all of its rows would be."""
    sql(PARENTS)
    sql("CREATE TABLE target (id integer PRIMARY KEY, a integer, b integer, name text REFERENCES parents (name), "
        "FOREIGN KEY (a, b) REFERENCES parents)")  # fmt: skip
    sql("CREATE TABLE hidden (id integer PRIMARY KEY)")
    sql("ALTER TABLE hidden ENABLE ROW LEVEL SECURITY")
    sql("CREATE TABLE others (id integer PRIMARY KEY, hidden integer REFERENCES hidden)")
    role = f"reader_of_{database.rpartition('/')[2].partition('?')[0]}"
    sql(f'CREATE ROLE "{role}"')
    sql(f'GRANT USAGE ON SCHEMA reliable_imports TO "{role}"')
    sql(f'GRANT SELECT (name) ON parents TO "{role}"')
    sql(f'GRANT SELECT ON hidden TO "{role}"')

    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(f'SET ROLE "{role}"')
        seen = {}
        for table in ("target", "others"):
            cursor.execute("SELECT reliable_imports.describe_target_v1(%s)", [table])
            ((described,),) = cursor.fetchall()
            seen[table] = [reference["name"] for reference in described["references"]]
    sql(f'DROP OWNED BY "{role}"')
    sql(f'DROP ROLE "{role}"')

    assert seen == {"target": ["target_name_fkey"], "others": []}


def test_why_rows_do_not_go_as_columns_is_told_once(
    import_rows: Callable[..., dict[int, str]], sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, boss integer REFERENCES target)")
    caplog.set_level(logging.DEBUG, "reliable_imports")

    import_rows([{"id": number, "boss": None} for number in range(150)])

    told = [vars(record) for record in caplog.records if record.getMessage() == "rows do not go as columns"]
    assert [(each["table"], each["why"]) for each in told] == [("public.target", "a reference of the table to itself")]
