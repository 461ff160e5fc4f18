"""Random tables with all that makes the order of rows matter, and random items for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import strategies as st

Row = dict[str, Any]

# `{s}` is the schema. Each has what it needs: columns or constraints of the target.
_PARTS = {
    "a check": "CONSTRAINT n_is_not_negative CHECK (n >= 0)",
    "a parent": "parent integer REFERENCES {s}.parents",
    "a boss": "boss integer REFERENCES {s}.target",
    "a deferred parent": "parent integer REFERENCES {s}.parents DEFERRABLE INITIALLY DEFERRED",
    "a deferred boss": "boss integer REFERENCES {s}.target DEFERRABLE INITIALLY DEFERRED",
    "a second key": "code integer UNIQUE",
    "a deferred second key": "code integer UNIQUE DEFERRABLE INITIALLY DEFERRED",
    "an exclusion": "during int4range, EXCLUDE USING gist (during WITH &&)",
    "a deferred exclusion": "during int4range, EXCLUDE USING gist (during WITH &&) DEFERRABLE INITIALLY DEFERRED",
    "a generated column": "doubled integer GENERATED ALWAYS AS (n * 2) STORED",
    "a serial": "serial bigserial",
    "a default": "state text NOT NULL DEFAULT 'new'",
    "a default that reads its neighbours": "place integer DEFAULT {s}.rows_now()",
    "a check that reads its neighbours": "CONSTRAINT has_room CHECK ({s}.rows_now() < 40)",
}
_FIELDS = {
    "a parent": "parent",
    "a boss": "boss",
    "a deferred parent": "parent",
    "a deferred boss": "boss",
    "a second key": "code",
    "a deferred second key": "code",
    "an exclusion": "during",
    "a deferred exclusion": "during",
    "a default": "state",
}

# When it fires, and what it does.
_TRIGGERS = {
    "counts its neighbours": ("BEFORE INSERT", "NEW.seen := (SELECT count(*) FROM {s}.target); RETURN NEW;"),
    "sums its neighbours before an update": (
        "BEFORE UPDATE",
        "NEW.seen := (SELECT sum(n) FROM {s}.target); RETURN NEW;",
    ),
    "writes a ledger": (
        "AFTER INSERT",
        "INSERT INTO {s}.ledger SELECT TG_OP, NEW.id, count(*), sum(n) FROM {s}.target; RETURN NULL;",
    ),
    "writes a ledger of updates": (
        "AFTER UPDATE",
        "INSERT INTO {s}.ledger SELECT TG_OP, NEW.id, count(*), sum(n) FROM {s}.target; RETURN NULL;",
    ),
    "keeps a running total": (
        "AFTER INSERT",
        "UPDATE {s}.totals SET rows = rows + 1; "
        "INSERT INTO {s}.ledger SELECT 'total', NEW.id, rows, NULL FROM {s}.totals; RETURN NULL;",
    ),
    "raises afterwards for its neighbours": (
        "AFTER INSERT",
        "IF (SELECT count(*) FROM {s}.target WHERE n = NEW.n) > 3 THEN RAISE 'too many'; END IF; RETURN NULL;",
    ),
}
# These decide whether there is a row at all, or leave one elsewhere, before it is known whether the row is there.
_DECIDING_TRIGGERS = {
    "leaves rows out": ("BEFORE INSERT", "IF NEW.n % 5 = 0 THEN RETURN NULL; END IF; RETURN NEW;"),
    "leaves updates out": ("BEFORE UPDATE", "IF NEW.n % 3 = 0 THEN RETURN NULL; END IF; RETURN NEW;"),
    "leaves rows out for their neighbours": (
        "BEFORE INSERT",
        "IF NEW.n % 2 = 0 AND (SELECT count(*) FROM {s}.target) % 4 = 3 THEN RETURN NULL; END IF; RETURN NEW;",
    ),
    "raises": ("BEFORE INSERT", "IF NEW.n % 7 = 3 THEN RAISE 'no' USING ERRCODE = '55000'; END IF; RETURN NEW;"),
    "raises for its neighbours": (
        "BEFORE INSERT",
        "IF (SELECT coalesce(sum(n), 0) FROM {s}.target) + NEW.n > 150 THEN RAISE 'full'; END IF; RETURN NEW;",
    ),
    "writes a ledger before": (
        "BEFORE INSERT",
        "INSERT INTO {s}.ledger SELECT 'before', NEW.id, count(*), sum(n) FROM {s}.target; RETURN NEW;",
    ),
}  # fmt: skip
_STABLE = frozenset({"counts its neighbours", "leaves rows out for their neighbours", "raises for its neighbours"})
_PARTITIONS = {
    "": [],
    "PARTITION BY LIST (region)": [f"IN ({number})" for number in range(3)],
    "PARTITION BY RANGE (region)": ["FROM (0) TO (2)", "FROM (2) TO (3)"],
    "PARTITION BY HASH (region)": ["WITH (MODULUS 2, REMAINDER 0)", "WITH (MODULUS 2, REMAINDER 1)"],
}
_DEFERRED = ["a deferred parent", "a deferred boss", "a deferred second key", "a deferred exclusion"]


@dataclass(frozen=True)
class RandomTable:
    """A table `target`, and others that its triggers and references need.

    Attributes:
        existing: what becomes of rows that exist, as a TableProcessor declares it.
        initial_rows: how many rows are in it before.
    """

    parts: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    stable: bool = False
    partitioning: str = ""
    existing: str = "rewrite"
    initial_rows: int = 0
    key: tuple[str, ...] = field(init=False)
    fields: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", ("region", "id") if self.partitioning else ("id",))
        object.__setattr__(self, "fields", ("n", *[_FIELDS[part] for part in self.parts if part in _FIELDS]))

    def created(self, schema: str) -> str:
        """The statements that make it, in a schema of its own."""
        columns = ["id integer", "n integer", "seen bigint"]
        columns += ["region integer"] if self.partitioning else []
        columns += [_PARTS[part] for part in self.parts]
        if self.partitioning:
            columns = [
                column.replace("code integer UNIQUE", "code integer, UNIQUE (region, code)") for column in columns
            ]
        columns += [f"PRIMARY KEY ({', '.join(self.key)})"]
        statements = [
            "DROP SCHEMA IF EXISTS {s} CASCADE",
            "CREATE SCHEMA {s}",
            "CREATE TABLE {s}.parents (id integer PRIMARY KEY)",
            "INSERT INTO {s}.parents VALUES (1), (2), (3)",
            "CREATE TABLE {s}.ledger (what text, id integer, rows bigint, total bigint)",
            "CREATE TABLE {s}.totals (rows bigint)",
            "INSERT INTO {s}.totals VALUES (0)",
            "CREATE TABLE {s}.others (id integer, n integer CHECK (n <> 1))",
            "CREATE FUNCTION {s}.rows_now() RETURNS bigint LANGUAGE plpgsql "
            f"{'STABLE' if self.stable else 'VOLATILE'} AS $$ BEGIN RETURN (SELECT count(*) FROM {{s}}.target); END $$",
            f"CREATE TABLE {{s}}.target ({', '.join(columns)}) {self.partitioning}",
        ]
        for number, bounds in enumerate(_PARTITIONS[self.partitioning]):
            statements.append(f"CREATE TABLE {{s}}.target_{number} PARTITION OF {{s}}.target FOR VALUES {bounds}")
        if self.initial_rows:
            names, values = ("id, n, region", "id, 1, 0") if self.partitioning else ("id, n", "id, 1")
            if "a second key" in self.parts:
                names, values = f"{names}, code", f"{values}, id"
            numbers = f"generate_series(1, {self.initial_rows}) AS id"
            statements.append(f"INSERT INTO {{s}}.target ({names}) SELECT {values} FROM {numbers}")
        for number, name in enumerate(self.triggers):
            fires, body = {**_TRIGGERS, **_DECIDING_TRIGGERS}[name]
            volatility = "STABLE" if self.stable and name in _STABLE else "VOLATILE"
            statements += [
                f"CREATE FUNCTION {{s}}.trigger_{number}() RETURNS trigger LANGUAGE plpgsql {volatility} "
                f"AS $$ BEGIN {body} END $$",
                f"CREATE TRIGGER trigger_{number} {fires} ON {{s}}.target "
                f"FOR EACH ROW EXECUTE FUNCTION {{s}}.trigger_{number}()",
            ]
        return "; ".join(statements).replace("{s}", schema)


@st.composite
def tables(draw: st.DrawFn) -> RandomTable:
    """A table whose constraints are all checked at once."""
    existing = draw(st.sampled_from(["rewrite", "update"]))
    partitioning = draw(st.sampled_from(["", *_PARTITIONS]))
    parts = [part for part in _PARTS if "deferred" not in part]
    if partitioning:
        parts = [part for part in parts if part not in ("a boss", "a second key", "an exclusion")]
    if existing == "update":
        # Whether a row that is the same is checked again is nobody's business.
        parts = [part for part in parts if part != "a check that reads its neighbours"]
    triggers = [*_TRIGGERS, *(_DECIDING_TRIGGERS if existing == "rewrite" else ())]
    return RandomTable(
        parts=tuple(draw(st.lists(st.sampled_from(parts), max_size=4, unique=True))),
        triggers=tuple(draw(st.lists(st.sampled_from(triggers), max_size=3, unique=True))),
        stable=draw(st.booleans()),
        partitioning=partitioning,
        existing=existing,
        initial_rows=draw(st.sampled_from([0, 5])),
    )


@st.composite
def tables_with_a_second_key(draw: st.DrawFn) -> RandomTable:
    """A table whose rows may go as one statement, though rows with different keys may be in each other's way."""
    partitioning = draw(st.sampled_from(["", "", *_PARTITIONS]))
    others = ["a check", "a parent", "a generated column", *(() if partitioning else ["an exclusion"])]
    return RandomTable(
        parts=("a second key", *draw(st.lists(st.sampled_from(others), max_size=3, unique=True))),
        partitioning=partitioning,
        existing=draw(st.sampled_from(["rewrite", "update"])),
        initial_rows=draw(st.sampled_from([0, 5, 300])),
    )


@st.composite
def tables_with_deferred_constraints(draw: st.DrawFn) -> RandomTable:
    parts = draw(st.lists(st.sampled_from(_DEFERRED), min_size=1, max_size=2, unique=True))
    parts += draw(st.lists(st.sampled_from(["a check", "a generated column", "a default"]), max_size=2, unique=True))
    return RandomTable(parts=tuple(parts), existing=draw(st.sampled_from(["rewrite", "update"])))


def random_rows(table: RandomTable, size: int, seed: int, *, unique: bool = False) -> Sequence[Row]:
    """Rows for the table; some of them are bad, some refer to others, some have a key that was there before."""
    random = Random(seed)
    badness = random.choice([0, 0.01, 0.1, 0.5])
    share_of_keys = random.choice([0.1, 0.6, 2, 5])
    keys = max(3, int(size * share_of_keys))
    ids = random.sample(range(1, 2 * size + 1), size) if unique else [random.randint(1, keys) for _ in range(size)]
    order = random.choice(["as it comes", "up", "down"])
    if order != "as it comes":
        ids.sort(reverse=order == "down")
    return [_row(table, random, number, ids, badness) for number in range(size)]


def _row(table: RandomTable, random: Random, number: int, ids: Sequence[int], badness: float) -> Row:
    is_bad = random.random() < badness
    row: Row = {"id": ids[number], "n": random.choice([random.randint(0, 20), random.randint(0, 20), None])}
    if is_bad:
        row["n"] = random.choice([-1, "x", 10**12, 3])
    if table.partitioning:
        row["region"] = 7 if is_bad and random.random() < 0.5 else random.randint(0, 2)
    values = {
        "parent": lambda: 4 if random.random() < badness else random.choice([1, 2, 3, None]),
        "boss": lambda: random.choice([None, ids[number - 1], ids[(number + 1) % len(ids)], random.choice(ids)]),
        "code": lambda: random.choice([None, random.randint(1, len(ids)), random.randint(1, 10 * len(ids))]),
        "during": lambda: f"[{(start := random.randint(1, 5 * len(ids)))},{start + random.randint(0, 3)}]",
        "state": lambda: random.choice(["old", "it's"]),
    }
    for name in table.fields:
        if name in values and random.random() < 0.9:
            row[name] = values[name]()
    return row
