"""The plans that a run has made so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reliable_imports.items.failure import Named
from reliable_imports.log import logger
from reliable_imports.writes.plan import Plan
from reliable_imports.writes.request import WriteRequest
from reliable_imports.writes.target import Target, found_target

_MAX_PLANS = 500
"""Of a source whose items have now these fields and now those, every item may need one of its own."""


class Plans:
    """Plans by what was asked for, and the tables that they were made for.

    The thread that finishes a chunk may forget them at any moment, while items ask for them. So each question is asked
    once, and a plan of a table that was altered meanwhile is found out when it is used.
    """

    def __init__(self) -> None:
        self._targets: dict[str, Target] = {}
        self._plans: dict[WriteRequest, Plan] = {}
        self._last: tuple[WriteRequest, Plan] | None = None
        self.names: dict[tuple[str | None, ...], Named] = {}
        """What tables and constraints of errors are called; by schema, table and constraint as the server says."""
        self._said: set[tuple[str, str]] = set()

    def find(self, request: WriteRequest) -> Plan | None:
        # Most rows ask for what the one before has asked for, and comparing requests is dear.
        last = self._last
        if last is not None and last[0] is request:
            return last[1]
        plan = self._plans.get(request)
        if plan is not None:
            self._last = (request, plan)
        return plan

    def target(self, table: str) -> Target | None:
        """The table, if it is known."""
        return self._targets.get(table)

    def learn(self, table: str, described: Mapping[str, Any] | None) -> Target:
        """Keep what `describe_target` has said of a table, and return it.

        Raises:
            UnusableTarget: there is no such table.
        """
        found = self._targets[table] = found_target(table, described)
        return found

    def make(self, request: WriteRequest, target: Target, server_version: int) -> Plan:
        """Make the plan for a request to a table, and keep it; see `Plan` for what it raises."""
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        plan = Plan(request, target, server_version=server_version)
        self._plans[request] = plan
        return plan

    def say_once(self, table: str, why: str) -> None:
        """Tell at debug level why rows for a table do not go as columns; each reason once a run."""
        if (table, why) not in self._said:
            self._said.add((table, why))
            logger.debug("rows do not go as columns", extra={"table": table, "why": why})

    def forget(self) -> None:
        """Ask again: a table was altered, or what was read of it was never committed."""
        self._targets.clear()
        self._plans.clear()
        self.names.clear()
        self._last = None
