"""Whoever watches a run is told how it goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg2

from reliable_imports.batches.read import get_summary
from reliable_imports.engine.process.heartbeat import Heartbeat
from reliable_imports.engine.recovery.connection import RunConnection
from reliable_imports.log import logger
from reliable_imports.models import BatchSummary

_SECONDS = 0.5

ProgressCallback = Callable[[BatchSummary], None]


class Progress:
    """The observer of a worker in the run's own process: every commit is a beat of its heart."""

    def __init__(
        self, connection: RunConnection, batch_id: int, heartbeat: Heartbeat, on_progress: ProgressCallback | None
    ) -> None:
        self._connection = connection
        self._batch_id = batch_id
        self._heartbeat = heartbeat
        self._on_progress = on_progress
        self._next = 0.0

    def trying(self, item_number: int | None) -> None:
        pass

    def tried(self) -> None:
        pass

    def committed(self) -> None:
        self._heartbeat.beaten()
        self.report()

    def report(self) -> None:
        """Say how the batch stands, about twice a second."""
        if self._on_progress is not None and time.monotonic() >= self._next:
            self.report_now()
            self._next = time.monotonic() + _SECONDS

    def report_now(self) -> None:
        if self._on_progress is None:
            return
        try:
            summary = get_summary(self._connection.current, self._batch_id)
        except psycopg2.Error:
            return  # the work itself will tell
        try:
            self._on_progress(summary)
        except Exception as error:  # who only watches does not stop the work
            logger.warning("on_progress failed", extra={"error_type": type(error).__name__})
            self._on_progress = None

    def be_silent(self) -> None:
        """Say nothing from now on: the run is being abandoned."""
        self._on_progress = None
