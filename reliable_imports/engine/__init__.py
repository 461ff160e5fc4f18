"""How a batch is worked.

run         one execution of a batch: begins it, keeps it going wherever the work has to be done, ends it
work/       the loop of a worker: claim, prepare, try, write, record
isolation/  one item's writes kept apart from its neighbours'
recovery/   lost connections, and the search for an item that kills its worker
process/    child processes, heartbeat, signals, time limits
"""
