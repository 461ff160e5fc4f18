"""What happens after a death.

connection     the connection of one process of a run, made again when it is lost
reconnection   the steps of a run, taken again after the connection was lost in the middle of one
suspects       what is written down of ranges in which a worker died
killer_search  work in child processes, and the search for items that kill them

The design
----------

A worker can lose three things, and each has its own way back: a chunk, its connection, and its life.

A chunk. An error that names no item undoes the chunk. The module `engine.work.doubts` decides how its items are tried
again: in smaller chunks, then one by one. An item that brings the error about again when it is alone is failed.
Trouble of the server's own, such as a full disk, is believed of an item only after other items were written.

A connection. Whatever was not committed is undone by the server, and the locks of the session are free. The run
connects anew, for a minute at most, and waits until it can lock what it had in hand. Only then is it certain that the
old session has ended, and that a COMMIT which was under way has either happened or not. The items that were being
tried are tried again one by one. An item that costs five connections alone is failed.

A life. An item can kill its process: by a segmentation fault, by `os._exit`, by using up the memory. Nothing in a
process survives that, so a death is found by whoever comes next, from three facts that are committed beforehand:

- A run notes the range that it is going to work (`import_runs.range_number`) with the commit of the chunk before.
- A run notes the session of the server that works for it (`backend_pid`, `backend_start`).
- A run that ends says so (`ended_at`).

So a range is suspect if a run without an end has noted it, and that run's session is gone. A worker that meets a
suspect range does not work it. It takes the search lock of the range, an advisory lock on a connection of its own,
and forks a child process that tries items of the range one by one. All others leave that range to it and work
elsewhere.

What the child dies of, its parent sees: shared memory names the item that was being tried. Where it was the chunk
in flight that the child died of, an item behind it is named, and the search tries both alone; also where that item
is of the next range, for the range that the run has published is searched as well. An item that has killed two
children alone is failed as `KilledWorker`. Deaths are written down by run and added up, because the parent may die
too. From the first death on, the whole batch is worked in children. The same is done if the processor has an
`item_timeout`, since only a parent can end an item that does not let itself be interrupted.

If the parent is lost together with its child, as when a container runs out of memory, nobody has seen what happened.
For that case the child notes the item before it tries it (`import_runs.lone_item`). An item that two workers were
lost with is postponed, not failed: its range goes on without it. When nothing else is left, the batch is paused, and
the reason names the item, because a person has to look.

A search ends when all items have been tried that a dead worker can have had in hand: those of a chunk, and those that
were tried while it ended. What was known of the range is then cleared. Items that wait for another try have no range
any more; `RETRIES` stands in its place, and they are searched in the same way.

None of this decides who may work on an item. That is decided by the lock on the range and by the key of the attempts
alone, so a wrong suspicion costs time and nothing else.
"""
