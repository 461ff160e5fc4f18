"""What the server has done for the calls of a test: every statement with its plan, those within functions too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest

_SETTINGS = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_format": "json",
    "auto_explain.log_nested_statements": "on",
    "client_min_messages": "log",
}


@dataclass(frozen=True)
class Statement:
    """A statement that was executed."""

    text: str
    plan: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """The rows that all nodes of the plan together have handed on or left out, each time that they were run."""
        return sum(
            int(
                (node["Actual Rows"] + sum(node.get(f"Rows Removed by {cause}", 0) for cause in _CAUSES))
                * node["Actual Loops"]
            )
            for node in _nodes(self.plan)
        )

    @property
    def pages(self) -> int:
        """Pages of tables and indexes that were looked at, however often."""
        return int(self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"])

    def __str__(self) -> str:
        return f"{self.rows:,} rows, {self.pages:,} pages:\n{self.text}\n{json.dumps(self.plan, indent=1)}"


_CAUSES = ("Filter", "Join Filter", "Index Recheck")


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


@dataclass
class Executions:
    """The statements that the sessions of this process have executed; psycopg2 appends what the server tells."""

    statements: list[Statement] = field(default_factory=list)

    def append(self, notice: str) -> None:
        _, is_plan, plan = notice.partition("plan:\n")
        if is_plan:
            told = json.loads(plan)
            self.statements.append(Statement(told["Query Text"], told["Plan"]))

    def taken(self) -> list[Statement]:
        """Those since this was last asked."""
        taken, self.statements = self.statements, []
        return taken


def watch(database: str, monkeypatch: pytest.MonkeyPatch) -> Executions:
    """Follow all sessions that this process begins in the database from now on. Skips the test where nobody may."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        try:
            cursor.execute("LOAD 'auto_explain'")
        except psycopg2.Error as error:
            pytest.skip(f"the server does not tell its plans: {error}")
        for name, value in _SETTINGS.items():
            cursor.execute(f'ALTER DATABASE "{connection.info.dbname}" SET {name} = {value}')
    connection.close()
    executions = Executions()
    connect = psycopg2.connect

    def followed(*arguments: Any, **options: Any) -> Any:
        session = connect(*arguments, **options)
        session.notices = executions
        return session

    monkeypatch.setattr(psycopg2, "connect", followed)
    return executions
