"""How a batch is worked.

run          one execution of a batch: begins it, keeps it going wherever the work has to be done, ends it
link         the connection of one process of a run, made again when it is lost
trail        the audit trail of a run
worker       takes items in chunks, tries them, records them
claims       which items come next: ranges that nobody else holds, and items that wait for another try
children     work in child processes, and the search for items that kill them
shelter      one child process, and how it ended
suspects     what is written down of ranges in which a worker died
chunk        one transaction's worth of items, each isolated from the others
session      the transaction as its items see it: savepoints and declared writes
attempt      what became of one item
recorder     what became of a chunk, as one call of the server
preparation  what items need from elsewhere, fetched before their transaction
tolerance    when failures are too many to go on
timeout      a bound on how long one item's code may run
stop         SIGTERM and SIGINT, heard between two items
garbage      fewer garbage collections, which would find nothing
watch        a heartbeat beside the work, and an eye on a peer that froze
"""
