"""How a batch is worked.

run         one execution of a batch: keeps it going wherever the work has to be done
begin       what a run writes down when it begins, and what it has to know
end         how a batch and a run end
trying      a try: a run of items that is rolled back
progress    whoever watches a run is told how it goes on
work/       the loop of a worker: claim, prepare, try, write, record
isolation/  one item's writes kept apart from its neighbours'
recovery/   lost connections, and the search for an item that kills its worker
process/    child processes, heartbeat, signals, time limits
"""
