"""Work in child processes: they may die of an item, and the process that watches knows of which."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence

from reliable_imports.engine.process.child_process import POSSIBLE, ChildEnd, Shelter
from reliable_imports.engine.process.heartbeat import Watch
from reliable_imports.engine.recovery.connection import Link
from reliable_imports.engine.recovery.suspects import Suspects
from reliable_imports.engine.work.audit_log import Trail
from reliable_imports.engine.work.worker import Doubt, Ending, MustPause, Worker
from reliable_imports.errors import ItemError, ItemTimeout, KilledWorker
from reliable_imports.items.failure import exception_failure
from reliable_imports.models import Batch
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.statuses import Stage

MAX_LONE_DEATHS = 2
"""Child processes that an item may kill while it is tried alone; and workers that may be lost with such a child."""

_MAX_DEATHS_BETWEEN_ITEMS = 5
_MAX_NAMED = 10


class Children:
    """The child processes of one run.

    Attributes:
        are_wanted: the whole batch is worked in a child: there is a time limit to enforce, or there were killers.
    """

    def __init__(
        self,
        dsn: str,
        batch: Batch,
        processor: BaseProcessor,
        link: Link,
        worker: Worker,
        trail: Trail,
        shelter: Shelter,
        *,
        expects_killers: bool,
        on_tick: Callable[[], None],
    ) -> None:
        """
        Args:
            worker: the one of this process; a child's knows what it knows.
            on_tick: called about twice a second while a child works.
        """
        self.are_wanted = POSSIBLE and (expects_killers or processor.item_timeout is not None)
        self._dsn = dsn
        self._batch = batch
        self._processor = processor
        self._link = link
        self._worker = worker
        self._trail = trail
        self._shelter = shelter
        self._on_tick = on_tick
        self._suspects = Suspects(dsn, link, trail)
        self._deaths: Counter[int] = Counter()
        self._deaths_between = 0

    def work(self) -> Ending | None:
        """Work the batch in a child; None if it died and what it died of has been dealt with."""
        end = self._run(lambda worker: worker.work())
        if not end.died:
            self._link.kept(self._link.move_run)
            return _ending_of(end)
        if end.item is None:
            # It may have been preparing several: alone, each of them is known.
            suspect = self._suspects.announced_range()
            if suspect is None:
                self._died_between(end)
        elif end.outstayed:
            self._set_aside(end.item, _outstayed(self._processor))
            suspect = None
        else:
            suspect = self._suspects.range_of(end.item)
        if suspect is None:
            self._link.kept(self._link.move_run)
            return None
        self._suspects.add(suspect, end.item or 0)
        return self.search(suspect, end.item)

    def search(self, range_number: int, until: int | None = None) -> Ending | None:
        """Try the items of a range one by one in a child, up to *until*, until all that kill it are known.

        An item is charged only when it dies alone, while this process lives to see it. Each worker that looks for it
        would have to see it kill a child twice, so they take turns, and the others work elsewhere meanwhile.

        Args:
            range_number: 0 for the items that wait for another try.

        Raises:
            MustPause: an item was alone whenever it took the whole worker along, and nothing is left to do before it.
        """
        with self._suspects.turn(range_number) as is_ours:
            if not is_ours:
                self._worker.left.add(range_number)
                return None
            self._suspects.add(range_number)
            self._set_killers_aside(range_number)
            self._put_off(range_number)
            if POSSIBLE:
                ending = self._work_alone_in_children(range_number, until)
            else:
                ending = self._link.kept(lambda: self._worker.work_alone(range_number, until))
            if ending is Ending.NOTHING_LEFT:
                self._deaths_between = 0
                self._suspects.clear(range_number, until)
            return Ending.STOPPED if ending is Ending.STOPPED else None

    def _work_alone_in_children(self, range_number: int, until: int | None) -> Ending | None:
        """The end of a child that came to one; None if there is somebody else who may look now."""
        while self._link.stop.received is None:
            end = self._run(lambda worker: worker.work_alone(range_number, until))
            self._link.kept(self._link.move_run)
            if not end.died:
                return _ending_of(end)
            # Where there was one there may be more: from now on they kill a child only.
            self.are_wanted = True
            if end.item is None:
                self._died_between(end)
            elif end.outstayed:
                self._set_aside(end.item, _outstayed(self._processor))
            else:
                self._deaths[end.item] += 1
                self._suspects.add(range_number, end.item, self._deaths[end.item], end.how)
                self._set_killers_aside(range_number)
            if not self._suspects.has_turn():
                return None
        return Ending.STOPPED

    def _set_killers_aside(self, range_number: int) -> None:
        for item_number, deaths, how in self._suspects.lone_deaths(range_number):
            if deaths >= MAX_LONE_DEATHS:
                self._set_aside(item_number, KilledWorker(f"killed its worker ({how})"))

    def _set_aside(self, item_number: int, error: ItemError) -> None:
        failure = exception_failure(self._batch.batch_type, Stage.PROCESS, error)
        self._worker.doubts[item_number] = Doubt(verdict=failure, is_harmful=True)

    def _died_between(self, end: ChildEnd) -> None:
        self._deaths_between += 1
        if self._deaths_between > _MAX_DEATHS_BETWEEN_ITEMS:
            raise MustPause(f"its worker died {self._deaths_between} times between two items ({end.how})")

    def _put_off(self, range_number: int) -> None:
        """Leave items that took whole workers along to the end, and then to a person.

        Nobody saw what happened. It may have been the item, which used up the memory of a container, say, or someone
        outside who stopped the worker each time. So the item is not charged.
        """
        suspects = [item for item, lost in self._suspects.losses(range_number).items() if lost >= MAX_LONE_DEATHS]
        if range_number:
            for item_number in suspects:
                self._suspects.put_off(range_number, item_number)
        elif suspects:
            self._suspects.forget_losses(suspects)
            raise MustPause(
                f"{_items(suspects)} tried alone {MAX_LONE_DEATHS} times, and each time the worker was lost together "
                "with the process that watched it, as when a container runs out of memory; nobody saw whether that was "
                f"the item's fault. To try again: `reliable-imports process {self._batch.id}`; to leave out what is "
                f"still open: `reliable-imports cancel {self._batch.id}`"
            )

    # In the child

    def _run(self, work: Callable[[Worker], Ending]) -> ChildEnd:
        return self._shelter.run(lambda: self._in_child(work), tick=self._tick)

    def _tick(self) -> None:
        self._suspects.keep_turn()
        self._on_tick()

    def _in_child(self, work: Callable[[Worker], Ending]) -> Ending:
        """The same run, on a connection and with threads and signal handlers of its own."""
        # The parent's are kept alive by its frames below this one: its connection is not ours to close.
        inherited = self._link.stop
        with Link(self._dsn, self._batch.id) as link, link.stop:
            # A signal that came between the fork and here was heard by the parent's handlers.
            link.stop.received = link.stop.received or inherited.received
            link.open_patiently()
            watch = Watch(self._dsn, self._trail.run_id, lambda: link.connection, contextlib.nullcontext())
            watch.start()

            def on_chunk() -> None:
                self._shelter.tell_between()
                watch.beaten()

            worker = self._worker.in_child(link.stop, on_chunk, self._shelter.tell_item, self._shelter.tell_tried)
            link.serve(self._trail, worker)
            link.kept(link.move_run)
            return link.kept(lambda: work(worker))


def _ending_of(end: ChildEnd) -> Ending:
    if end.error is not None:
        raise end.error
    assert isinstance(end.value, Ending)
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
