"""Items that are answered share a subtransaction only where a repetition is certain to give the same answer."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

import pytest
from psycopg2.extensions import AsIs

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from reliable_imports.engine.isolation import savepoints
from reliable_imports.engine.work import chunk
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(3)

_TABLES = """
    CREATE SEQUENCE numbers;
    CREATE FUNCTION lying() RETURNS bigint IMMUTABLE LANGUAGE sql AS $$ SELECT nextval('numbers') $$;
    CREATE FUNCTION speaking() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.note := NEW.note || nextval('numbers'); RETURN NEW; END $$;
    CREATE TABLE answers (
        code text PRIMARY KEY, note text NOT NULL CHECK (note NOT LIKE 'bad%'), at timestamptz DEFAULT now()
    );
    CREATE FUNCTION looking() RETURNS bigint STABLE LANGUAGE sql AS $$ SELECT count(*) FROM answers $$;
    CREATE TABLE serials (id serial, LIKE answers INCLUDING ALL);
    CREATE TABLE identities (id bigint GENERATED ALWAYS AS IDENTITY, LIKE answers INCLUDING ALL);
    CREATE TABLE clocks (LIKE answers INCLUDING ALL);
    ALTER TABLE clocks ALTER at SET DEFAULT clock_timestamp();
    CREATE TABLE triggered (LIKE answers INCLUDING ALL);
    CREATE TRIGGER speaks BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION speaking();
    CREATE TABLE ruled (LIKE answers INCLUDING ALL);
    CREATE RULE speaks AS ON INSERT TO ruled DO ALSO SELECT nextval('numbers');
    CREATE TABLE parted (LIKE answers INCLUDING CONSTRAINTS) PARTITION BY HASH (code);
    CREATE TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    CREATE TABLE parted_and_triggered (LIKE answers INCLUDING CONSTRAINTS) PARTITION BY HASH (code);
    CREATE TABLE part_with_trigger PARTITION OF parted_and_triggered FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    CREATE TRIGGER speaks BEFORE INSERT ON part_with_trigger FOR EACH ROW EXECUTE FUNCTION speaking();
    CREATE TABLE several (LIKE answers INCLUDING CONSTRAINTS);
    CREATE TABLE "Of Columns" (gone int, "The Id" smallserial, LIKE answers INCLUDING ALL);
    ALTER TABLE "Of Columns" DROP COLUMN gone;
    CREATE TABLE parted_and_numbered (id bigint GENERATED ALWAYS AS IDENTITY, LIKE answers INCLUDING CONSTRAINTS)
        PARTITION BY HASH (code);
    CREATE TABLE part_with_numbers PARTITION OF parted_and_numbered FOR VALUES WITH (MODULUS 1, REMAINDER 0);
    CREATE TABLE doubled (id serial, twice bigint GENERATED ALWAYS AS (id * 2) STORED, LIKE answers INCLUDING ALL);
    CREATE TABLE base (id serial, code text PRIMARY KEY, note text CHECK (note NOT LIKE 'bad%'), at timestamptz);
    CREATE VIEW seen AS SELECT id AS code_of_id, code, note, at FROM base;
    CREATE TABLE decimals (id numeric DEFAULT nextval('numbers'), LIKE answers INCLUDING ALL);
    CREATE TABLE cascading (LIKE answers INCLUDING ALL);
    CREATE TABLE child (code text REFERENCES cascading ON UPDATE CASCADE, note text);
    CREATE TRIGGER speaks BEFORE UPDATE ON child FOR EACH ROW EXECUTE FUNCTION speaking();
"""
_SUBTRANSACTIONS = "SELECT count(DISTINCT xmin::text) FROM {}"

_INSERT = "INSERT INTO {} (code, note) VALUES (%s, %s)"
_UPSERT = f"{_INSERT} ON CONFLICT (code) DO UPDATE SET note = excluded.note, at = now()"


_STEADY = {
    "answers": [f"{_INSERT} RETURNING code, note, at", f"{_UPSERT} RETURNING lower(code)"],
    "parted": [f"{_INSERT} RETURNING code, 'NaN'::float8"],
    "several": ["INSERT INTO {} (code, note) VALUES (%s, '1'), ('x', %s), ('y', '1') RETURNING code"],
}
_NUMBERED = {
    "serials": [
        f"{_INSERT} RETURNING id",
        f"{_UPSERT} RETURNING note, id",
        "\n insert into {} as own (code,note) values(%s, lower(%s)) RETURNING own.id",
    ],
    "identities": [
        f"{_INSERT} RETURNING id",
        f"{_INSERT} ON CONFLICT DO NOTHING RETURNING id",
        f"{_UPSERT} WHERE excluded.note <> 'x' RETURNING id",
    ],
    '"Of Columns"': [f'{_INSERT} RETURNING "The Id"'],
    "parted_and_numbered": [f"{_INSERT} RETURNING id"],
}
_UNSTEADY = {
    "serials": [
        f"{_INSERT} RETURNING code",
        f"{_INSERT} RETURNING -id",
        f"{_INSERT} RETURNING id, nextval('numbers')",
        f"{_INSERT} ON CONFLICT (code) DO UPDATE SET note = excluded.id::text RETURNING id",
        f'{_INSERT} ON CONFLICT (code) DO UPDATE SET note = "excluded" . "id"::text RETURNING id',
        f"{_INSERT} ON CONFLICT (code) DO UPDATE SET note = excluded::text RETURNING id",
        "INSERT INTO {} (code, note) VALUES (%s, %s), ('x', '1') ON CONFLICT DO NOTHING RETURNING id",
        "INSERT INTO {} (code, note) SELECT %s, %s RETURNING id",
        "INSERT /* a remark */ INTO {} (code, note) VALUES (%s, %s) RETURNING id",
    ],
    "decimals": [f"{_INSERT} RETURNING id"],
    "doubled": [f"{_INSERT} RETURNING id"],
    "base": ["INSERT INTO seen (code, note) VALUES (%s, %s) RETURNING code_of_id"],
    "cascading": [f"{_UPSERT} RETURNING code"],
    "clocks": [f"{_INSERT} RETURNING at", f"{_INSERT} ON CONFLICT (code) DO UPDATE SET at = DEFAULT RETURNING code"],
    "triggered": [f"{_INSERT} RETURNING note"],
    "parted_and_triggered": [f"{_INSERT} RETURNING note"],
    "ruled": [f"{_INSERT} RETURNING note"],
    "answers": [
        f"{_INSERT} RETURNING ctid",
        f"{_INSERT} RETURNING nextval('numbers')",
        f"{_INSERT} RETURNING statement_timestamp()",
        f"{_INSERT} RETURNING looking()",
        f"{_INSERT} ON CONFLICT (code) DO UPDATE SET note = random()::text RETURNING code",
        "INSERT INTO {} (code, note) SELECT %s, %s RETURNING (SELECT count(*) FROM serials)",
        f"{_INSERT}; SELECT 1",
    ],
}


class AnsweredProcessor(BaseProcessor):
    """Keeps what its statement has answered; an item of which the note is `bad` is refused by the server."""

    tries: ClassVar[Counter[int]] = Counter()
    statement: ClassVar[str]

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
        self.tries[item.item_number] += 1
        if item.source_data.get("is_blind"):
            ctx.execute("INSERT INTO answers (code, note) VALUES (%s, '1')", [f"c{item.item_number}"])
            return {}
        note = item.source_data["note"]
        parameters = [f"c{item.item_number}", AsIs(note[3:]) if note.startswith("SQL") else note]
        told = [list(map(str, row.values())) for row in ctx.fetch_all(self.statement, parameters)]
        if item.source_data.get("reads"):
            ctx.fetch_value("SELECT max(note) FROM answers")
            raise ValueError("after it has read")
        return {"told": told}


def _run(manager: BatchManager, table: str, statement: str, notes: list[str]) -> dict[int, Any]:
    """What each completed item was told; the others must be those whose note is bad."""
    AnsweredProcessor.statement = statement.format(table)
    AnsweredProcessor.tries = Counter()
    batch_id = manager.create_batch("answered", [{"note": note} for note in notes])
    manager.process_batch(batch_id)
    items = manager.list_items(batch_id, limit=len(notes))
    failed = [each.item_number for each in items if each.status == "failed"]
    assert failed == [number for number, note in enumerate(notes, 1) if note == "bad"], statement
    return {each.item_number: each.result["told"] for each in items if each.result}


def _notes(*bad: int) -> list[str]:
    return ["bad" if number in bad else "1" for number in range(1, 41)]


@pytest.fixture
def tables(manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    monkeypatch.setattr(savepoints, "_MAX_REPEATED_SECONDS", 60)  # however busy the machine is
    monkeypatch.setattr(chunk, "MAX_SECONDS", 60)
    sql(_TABLES)
    manager.registry.register(AnsweredProcessor)
    return manager


@pytest.mark.parametrize("bad", [(), (9, 10, 33)])
def test_steady_answers_are_given_again(tables: BatchManager, sql: Sql, bad: tuple[int, ...]) -> None:
    good = {f"c{number}" for number in range(1, 41) if number not in bad}
    for table, statements in _STEADY.items():
        for statement in statements:
            told = _run(tables, table, statement, _notes(*bad))

            assert {rows[0][0] for rows in told.values()} == good, statement
            assert {code for (code,) in sql(f"SELECT code FROM {table}")} - {"x", "y"} == good, statement
            assert set(AnsweredProcessor.tries.values()) == {1}, "no item's code runs again because of another"
            assert sql(_SUBTRANSACTIONS.format(table))[0][0] < len(good), "neighbours share one"
            sql(f"TRUNCATE {table}")


def test_what_might_be_answered_otherwise_is_undone_alone(tables: BatchManager, sql: Sql) -> None:
    for table, statements in _UNSTEADY.items():
        for statement in statements:
            told = _run(tables, table, statement, _notes(5, 17))

            assert len(told) == 38, statement
            assert set(AnsweredProcessor.tries.values()) == {1}, statement
            assert sql(_SUBTRANSACTIONS.format(table)) == [(38,)], statement
            sql(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize("bad", [(1,), (9, 10, 33, 40)])
def test_numbers_of_a_sequence_are_given_again(tables: BatchManager, sql: Sql, bad: tuple[int, ...]) -> None:
    for table, statements in _NUMBERED.items():
        column = '"The Id"' if "Columns" in table else "id"
        for statement in statements:
            told = _run(tables, table, statement, _notes(*bad))

            assert dict(sql(f"SELECT code, {column}::text FROM {table}")) == {f"c{n}": told[n][0][-1] for n in told}
            assert len(told) == 40 - len(bad)
            assert set(AnsweredProcessor.tries.values()) == {1}, statement
            assert sql(_SUBTRANSACTIONS.format(table))[0][0] < 10, "neighbours share one"
            sql(f"TRUNCATE {table}")


@pytest.mark.parametrize("existing", ["DO NOTHING", "DO UPDATE SET note = excluded.note"])
def test_rows_that_were_there_keep_their_numbers(tables: BatchManager, sql: Sql, existing: str) -> None:
    sql("INSERT INTO serials (id, code, note) SELECT 100 + n, 'c' || n, 'old' FROM generate_series(2, 40, 3) AS n")
    told = _run(tables, "serials", f"{_INSERT} ON CONFLICT (code) {existing} RETURNING id", _notes(9, 10, 33))

    there = {} if existing == "DO NOTHING" else {n: [[str(100 + n)]] for n in told if n % 3 == 2}
    assert {n: rows for n, rows in told.items() if n % 3 == 2 and rows} == there
    stored = dict(sql("SELECT code, id::text FROM serials WHERE id < 100"))
    assert stored == {f"c{n}": rows[0][0] for n, rows in told.items() if n % 3 != 2}
    assert set(AnsweredProcessor.tries.values()) == {1}


def test_numbers_that_this_role_may_not_give_are_not_given(tables: BatchManager, sql: Sql, database: str) -> None:
    role = f"inserter_of_{database.rpartition('/')[2].partition('?')[0]}"
    sql(f'CREATE ROLE "{role}"; '
        f'GRANT INSERT (code, note), SELECT ON serials TO "{role}"; '
        f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO "{role}"; '
        f'GRANT USAGE ON SCHEMA reliable_imports TO "{role}"; '
        f'GRANT ALL ON ALL TABLES IN SCHEMA reliable_imports TO "{role}"; '
        f'GRANT ALL ON ALL SEQUENCES IN SCHEMA reliable_imports TO "{role}"')  # fmt: skip
    limited = BatchManager(f"{database}{'&' if '?' in database else '?'}options=-c%20role%3D{role}")
    limited.registry.register(AnsweredProcessor)
    try:
        told = _run(limited, "serials", f"{_INSERT} RETURNING id", _notes(5, 17))
    finally:
        sql(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')

    assert dict(sql("SELECT code, id::text FROM serials")) == {f"c{n}": rows[0][0] for n, rows in told.items()}
    assert set(AnsweredProcessor.tries.values()) == {1}


def test_writes_that_return_a_column_share_a_subtransaction(tables: BatchManager, sql: Sql) -> None:
    class ReturnedProcessor(BaseProcessor):
        tries: ClassVar[Counter[int]] = Counter()

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any]:
            self.tries[item.item_number] += 1
            row = {"code": f"c{item.item_number}", "note": item.source_data["note"]}
            return {
                "id": ctx.insert("identities", row, returning="id"),
                "code": ctx.upsert("answers", row, key="code", returning="code"),
                "serial": ctx.upsert("serials", row, key="code", returning="id"),
            }

    tables.registry.register(ReturnedProcessor)
    batch_id = tables.create_batch("returned", [{"note": note} for note in _notes(5, 17, 18)])
    tables.process_batch(batch_id)

    told = {each.item_number: each.result for each in tables.list_items(batch_id, limit=50) if each.result}
    stored = sql(
        "SELECT substr(code, 2)::int, identities.id, answers.code, serials.id "
        "FROM identities JOIN answers USING (code) JOIN serials USING (code)"
    )
    assert told == {number: {"id": id_, "code": code, "serial": serial} for number, id_, code, serial in stored}
    assert len(told) == 37
    assert set(ReturnedProcessor.tries.values()) == {1}
    assert sql(_SUBTRANSACTIONS.format("identities"))[0][0] < 10


def test_what_looks_at_the_last_number_is_undone_alone(tables: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE lines (code text, serial bigint, note text)")

    class OrderProcessor(BaseProcessor):
        tries: ClassVar[Counter[int]] = Counter()

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            self.tries[item.item_number] += 1
            code = f"c{item.item_number}"
            if item.source_data["line"] == "moves the last number":
                ctx.execute("INSERT INTO decimals (code, note) VALUES (%s, '1')", [code])
                return
            if item.source_data["line"] == "fails":
                ctx.execute("INSERT INTO answers (code, note) VALUES (%s, 'bad')", [code])
                return
            if item.source_data["line"] == "before":
                ctx.execute("INSERT INTO lines VALUES (%s, lastval(), '1')", [code])
            serial = ctx.fetch_value(f"{_INSERT} RETURNING id".format("serials"), [code, item.source_data["note"]])
            if item.source_data["line"] == "by number":
                ctx.execute("INSERT INTO lines VALUES (%s, %s, '1')", [code, serial])
            elif item.source_data["line"] == "by the last number":
                ctx.execute("INSERT INTO lines VALUES (%s, lastval(), '1')", [code])
            elif item.source_data["line"] == "declared":
                ctx.insert("lines", {"code": code, "serial": serial, "note": "1"})

    tables.registry.register(OrderProcessor)
    sql("SELECT nextval('numbers')")
    for first, second in [
        ("by number", "by number"),
        ("by number", "by the last number"),
        ("declared", "by the last number"),
        ("before", "none"),
    ]:
        lines = [first if number % 3 else second for number in range(40)]
        items = [{"note": note, "line": line} for note, line in zip(_notes(5, 17, 18), lines, strict=True)]
        OrderProcessor.tries.clear()
        tables.process_batch(tables.create_batch("order", items))

        if second == "by number":
            assert sql(_SUBTRANSACTIONS.format("lines"))[0][0] < 10, "neighbours share one"
        orders = dict(sql("SELECT code, id FROM serials"))
        assert len(orders) == 37
        if first != "before":
            assert dict(sql("SELECT code, serial FROM lines")) == orders
        assert set(OrderProcessor.tries.values()) == {1}
        sql("TRUNCATE serials, lines")

    lines = ["by the last number", "moves the last number", "fails"] * 5
    tables.process_batch(tables.create_batch("order", [{"note": "1", "line": line} for line in lines]))
    assert dict(sql("SELECT code, serial FROM lines")) == dict(sql("SELECT code, id FROM serials"))


def test_a_parameter_that_is_sql_is_undone_alone(tables: BatchManager, sql: Sql) -> None:
    notes = ["SQLnextval('numbers')" if number % 10 else "1" for number in range(1, 41)]
    notes[24] = "bad"
    told = _run(tables, "answers", f"{_INSERT} RETURNING note", notes)

    assert dict(sql("SELECT code, note FROM answers")) == {f"c{number}": rows[0][0] for number, rows in told.items()}
    assert set(AnsweredProcessor.tries.values()) == {1}


def test_an_answer_that_differs_after_all_is_found_out(tables: BatchManager, sql: Sql) -> None:
    statement = "INSERT INTO {} (code, note) VALUES (%s, %s || lying()) RETURNING note"
    told = _run(tables, "answers", statement, _notes(5, 30))

    assert dict(sql("SELECT code, note FROM answers")) == {f"c{number}": rows[0][0] for number, rows in told.items()}
    again = {number for number, tries in AnsweredProcessor.tries.items() if tries > 1}
    assert again == {1, 2, 3, 4, 5}, "those before the first failure, and no others after that"


def test_an_item_that_cannot_even_be_explained_costs_its_neighbours_nothing(tables: BatchManager, sql: Sql) -> None:
    AnsweredProcessor.statement = "INSERT INTO answers (code, note) VALUES (%s, %s::integer::text) RETURNING code"
    AnsweredProcessor.tries = Counter()
    items = [{"note": note, "is_blind": number < 5} for number, note in enumerate(_notes(5), 1)]
    summary = tables.process_batch(tables.create_batch("answered", items))

    assert (summary.completed_items, summary.failed_items) == (39, 1)
    assert set(AnsweredProcessor.tries.values()) == {1}
    assert sql(_SUBTRANSACTIONS.format("answers"))[0][0] < 10, "the items after them share one"


@pytest.mark.parametrize("table", ["answers", "serials"])
@pytest.mark.parametrize("others", ["answered", "blind"])
def test_an_item_that_has_read_may_fail_beside_its_neighbours(
    tables: BatchManager, sql: Sql, table: str, others: str
) -> None:
    AnsweredProcessor.statement = f"{_INSERT} RETURNING {'code' if table == 'answers' else 'id'}".format(table)
    AnsweredProcessor.tries = Counter()
    reading = (7, 30)
    items = [
        {"note": "1", "reads": number in reading, "is_blind": others == "blind" and number not in reading}
        for number in range(1, 41)
    ]
    summary = tables.process_batch(tables.create_batch("answered", items))

    assert (summary.completed_items, summary.failed_items) == (38, 2)
    assert sql("SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM serials)") == [(38,)]
    assert set(AnsweredProcessor.tries.values()) == {1}


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO answers (code, note) VALUES (%s, (SELECT note FROM answers WHERE code = 'c1')) RETURNING note",
        "INSERT INTO answers (code, note) VALUES (%s, '1') ON CONFLICT (note) DO NOTHING RETURNING note",
        "INSERT INTO answers (code, note) VALUES (%s, '1') ON CONFLICT (note) DO UPDATE SET at = now() RETURNING code",
    ],
)
def test_no_item_fails_for_a_row_that_is_another_when_it_is_repeated(
    tables: BatchManager, sql: Sql, statement: str
) -> None:
    class MetProcessor(BaseProcessor):
        told: ClassVar[Any] = None

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 1:
                ctx.execute("INSERT INTO answers (code, note) VALUES ('c1', nextval('numbers'))")
                return
            ctx.execute("INSERT INTO clocks (code, note) VALUES (%s, '1')", [f"c{item.item_number}"])
            type(self).told = ctx.fetch_value(statement, [f"c{item.item_number}"])
            raise ValueError("for what it was told")

    sql("CREATE UNIQUE INDEX ON answers (note)" if "CONFLICT" in statement else "SELECT 1")
    tables.registry.register(MetProcessor)
    tables.process_batch(tables.create_batch("met", [{}, {}]))

    ((note,),) = sql("SELECT note FROM answers")
    if "SELECT" in statement:
        assert MetProcessor.told == note
    else:
        assert (note == "1") is (MetProcessor.told in (None, "c1")), "it was told of the row that stands"


def test_deferred_constraints_are_checked_with_each_item(tables: BatchManager, sql: Sql) -> None:
    sql(
        "CREATE TABLE parents (code text PRIMARY KEY); "
        "INSERT INTO parents SELECT 'c' || n FROM generate_series(1, 40) AS n WHERE n <> 7; "
        "ALTER TABLE answers ADD FOREIGN KEY (code) REFERENCES parents DEFERRABLE INITIALLY DEFERRED"
    )

    AnsweredProcessor.statement = f"{_INSERT} RETURNING code".format("answers")
    summary = tables.process_batch(tables.create_batch("answered", [{"note": note} for note in _notes(20)]))

    assert (summary.completed_items, summary.failed_items) == (38, 2)
    assert sql("SELECT count(*) FROM answers") == [(38,)]
