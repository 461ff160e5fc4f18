"""Work in child processes: they may die of an item, and the process that watches knows of which."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import psycopg2

from reliable_imports.engine.process.child_process import POSSIBLE, ChildEnd, ChildProcess
from reliable_imports.engine.process.heartbeat import Heartbeat
from reliable_imports.engine.process.observer import Observer
from reliable_imports.engine.process.stop_signal import StopSignal
from reliable_imports.engine.recovery.connection import RunConnection, connect_patiently
from reliable_imports.engine.recovery.reconnection import Reconnector
from reliable_imports.engine.recovery.suspects import ANY_ITEM, SearchLock, Suspects
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.engine.work.claims import RETRIES, Suspected
from reliable_imports.engine.work.doubts import Doubts
from reliable_imports.engine.work.tolerance import MustPause
from reliable_imports.engine.work.worker import Ending, Worker
from reliable_imports.errors import ItemTimeout, KilledWorker
from reliable_imports.postgres.connect import Connection
from reliable_imports.processor.base import BaseProcessor

MAX_LONE_DEATHS = 2
"""Child processes that an item may kill while it is tried alone; and workers that may be lost with such a child."""

_MAX_DEATHS_BETWEEN_ITEMS = 5
_MAX_NAMED = 10

MakeWorker = Callable[[Connection, StopSignal, Observer], Worker]


class KillerSearch:
    """Works a batch in child processes, and finds the items that kill them.

    Attributes:
        is_wanted: the whole batch is worked in a child: there is a time limit to enforce, or a worker was lost.
    """

    def __init__(
        self,
        dsn: str,
        processor: BaseProcessor,
        reconnector: Reconnector,
        audit_log: AuditLog,
        child: ChildProcess,
        *,
        make_worker: MakeWorker,
        expects_killers: bool,
        on_tick: Callable[[], None],
    ) -> None:
        """
        Args:
            reconnector: of this process.
            on_tick: called about twice a second while a child works.
            make_worker: makes the worker of a child, who knows what the one of this process knows.
        """
        self.is_wanted = POSSIBLE and (expects_killers or processor.item_timeout is not None)
        self._dsn = dsn
        self._processor = processor
        self._reconnector = reconnector
        self._audit_log = audit_log
        self._child = child
        self._on_tick = on_tick
        self._make_worker = make_worker
        self._suspects = Suspects(dsn, reconnector, audit_log)
        self._deaths: Counter[int] = Counter()
        self._deaths_between = 0

    def work(self) -> Ending | Suspected | None:
        """Work the batch in a child; None if it died and what it died of has been dealt with."""
        end = self._child.run(partial(self._in_child, Worker.work), tick=self._on_tick)
        if not end.died:
            self._move_run_here()
            return _value_of(end)
        if end.outstayed and end.item is not None:
            self._doubts.convict(end.item, _outstayed(self._processor))
            self._move_run_here()
            return None
        return self._search_after(end)

    def _search_after(self, end: ChildEnd) -> Ending | None:
        """Search what a child had in hand that has died."""
        # If no item is named, it may have been preparing several: alone, each of them is known.
        suspects: dict[int, int | None] = {}
        if end.item is not None:
            suspects[self._suspects.range_of(end.item)] = end.item
        published = self._suspects.published_range()
        if published is not None and published not in suspects:
            # The item may have been tried ahead, while the chunk before it was in flight: either can have killed it.
            suspects = {published: None, **suspects}
        if not suspects:
            self._died_between(end)
            self._move_run_here()
        for range_number, until in suspects.items():
            self._suspects.add(range_number, until or ANY_ITEM)
        for range_number, until in suspects.items():
            if self.search(range_number, until) is Ending.STOPPED:
                return Ending.STOPPED
        return None

    def search(self, range_number: int, until: int | None = None) -> Ending | None:
        """Try items of a range, or RETRIES, one by one in a child, until all of them that kill it are known.

        An item is charged only when it dies alone, while this process lives to see it. Each worker that looks for it
        would have to see it kill a child twice, so one of them looks, and the others work elsewhere meanwhile.

        Args:
            until: the last item to try; None for the last one that a worker which died there can have had in hand.

        Raises:
            MustPause: an item was alone whenever it took the whole worker along, and nothing is left to do before it.
        """
        # It may have died of an item of the next range, which it tried ahead. A child tells which item it is at.
        self.is_wanted = POSSIBLE
        with self._suspects.search_lock(range_number) as lock:
            if lock is None:
                self._doubts.left_to_others.add(range_number)
                return None
            self._suspects.add(range_number)
            until = until or self._suspects.last_in_hand(range_number)
            self._convict_killers(range_number)
            self._postpone_lost(range_number)
            ending = self._try_alone(range_number, until, lock)
            if ending is Ending.NOTHING_LEFT:
                self._deaths_between = 0
                self._suspects.clear(range_number, until)
            return Ending.STOPPED if ending is Ending.STOPPED else None

    @property
    def _doubts(self) -> Doubts:
        return self._reconnector.worker.doubts

    def _try_alone(self, range_number: int, until: int | None, lock: SearchLock) -> Ending | None:
        """Try the items one by one in child after child; None if the lock was lost, and somebody else may look now."""
        work_alone = partial(Worker.work_alone, range_number=range_number, until=until)
        if not POSSIBLE:
            return self._reconnector.run_step(partial(work_alone, self._reconnector.worker))
        while self._reconnector.connection.stop.received is None:
            end = self._child.run(partial(self._in_child, work_alone), tick=partial(self._tick, lock))
            self._move_run_here()
            if not end.died:
                ending = _value_of(end)
                assert isinstance(ending, Ending)
                return ending
            if end.item is None:
                self._died_between(end)
            elif end.outstayed:
                self._doubts.convict(end.item, _outstayed(self._processor))
            else:
                self._deaths[end.item] += 1
                self._suspects.add(range_number, end.item, self._deaths[end.item], end.how)
                self._convict_killers(range_number)
            if not lock.is_held():
                return None
        return Ending.STOPPED

    def _tick(self, lock: SearchLock) -> None:
        lock.keep()
        self._on_tick()

    def _move_run_here(self) -> None:
        self._reconnector.run_step(self._reconnector.move_run)

    # What is known of killers

    def _convict_killers(self, range_number: int) -> None:
        for item_number, deaths, how in self._suspects.lone_deaths(range_number):
            if deaths >= MAX_LONE_DEATHS:
                self._doubts.convict(item_number, KilledWorker(f"killed its worker ({how})"))

    def _died_between(self, end: ChildEnd) -> None:
        self._deaths_between += 1
        if self._deaths_between > _MAX_DEATHS_BETWEEN_ITEMS:
            raise MustPause(f"its worker died {self._deaths_between} times between two items ({end.how})")

    def _postpone_lost(self, range_number: int) -> None:
        """Postpone items that took whole workers along: to the end, and then to a person.

        Nobody saw what happened. It may have been the item, which used up the memory of a container, say, or someone
        outside who stopped the worker each time. So the item is postponed, not failed.
        """
        suspects = [item for item, lost in self._suspects.losses(range_number).items() if lost >= MAX_LONE_DEATHS]
        if range_number != RETRIES:
            for item_number in suspects:
                self._suspects.postpone(range_number, item_number)
        elif suspects:
            self._suspects.forget_losses(suspects)
            batch_id = self._audit_log.batch_id
            raise MustPause(
                f"{_items(suspects)} tried alone {MAX_LONE_DEATHS} times, and each time the worker was lost together "
                "with the process that watched it, as when a container runs out of memory; nobody saw whether that was "
                f"the item's fault. To try again: `reliable-imports process {batch_id}`; to leave out what is still "
                f"open: `reliable-imports cancel {batch_id}`"
            )

    # In the child

    def _in_child(self, work: Callable[[Worker], Ending | Suspected]) -> Ending | Suspected:
        """The same run, on a connection and with threads and signal handlers of its own."""
        # The parent's are kept alive by its frames below this one: its connection is not ours to close.
        inherited = self._reconnector.connection.stop
        with StopSignal() as stop:
            # A signal that came between the fork and here was heard by the parent's handlers.
            stop.received = stop.received or inherited.received
            batch_id = self._audit_log.batch_id
            own = connect_patiently(self._dsn, batch_id, stop)
            with RunConnection(own, self._dsn, batch_id, stop) as connection:
                heartbeat = Heartbeat(
                    self._dsn, self._audit_log.run_id, lambda: connection.current, contextlib.nullcontext()
                )
                heartbeat.start()
                worker = self._make_worker(connection.current, stop, _ChildObserver(self._child, heartbeat))
                reconnector = Reconnector(connection, self._audit_log, worker)
                reconnector.run_step(reconnector.move_run)
                while True:
                    try:
                        return work(worker)
                    except psycopg2.Error as error:
                        reconnector.recover(error)


class _ChildObserver:
    """Lets the parent know what the child is at."""

    def __init__(self, child: ChildProcess, heartbeat: Heartbeat) -> None:
        self._child = child
        self._heartbeat = heartbeat

    def trying(self, item_number: int | None) -> None:
        self._child.note_item(item_number)

    def tried(self) -> None:
        self._child.note_tried()

    def committed(self) -> None:
        self._child.note_between()
        self._heartbeat.beaten()


def _value_of(end: ChildEnd) -> Ending | Suspected:
    if end.error is not None:
        raise end.error
    assert isinstance(end.value, Ending | Suspected)
    return end.value


def _items(numbers: Sequence[int]) -> str:
    """The subject of a sentence about some items, not all of them by name if they are many."""
    if len(numbers) == 1:
        return f"item {numbers[0]} was"
    named = ", ".join(map(str, numbers[:_MAX_NAMED]))
    return f"items {named}{' and others' if len(numbers) > _MAX_NAMED else ''} were each"


def _outstayed(processor: BaseProcessor) -> ItemTimeout:
    assert processor.item_timeout is not None
    return ItemTimeout(
        f"the item took longer than item_timeout, {processor.item_timeout.total_seconds():g} seconds, and did not let "
        "itself be interrupted; its worker was killed"
    )
