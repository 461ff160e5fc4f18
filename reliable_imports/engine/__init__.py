"""How a batch is worked.

run          one execution of a batch: begins it, keeps it going through lost connections, ends it
worker       takes items in chunks, tries them, records them
claims       which items come next: ranges that nobody else holds, and items that wait for another try
shelter      a child process for items that may kill or outstay their worker
chunk        one transaction's worth of items, each isolated from the others
session      the transaction as its items see it: savepoints and declared writes
columns      declared rows as a few long texts, which the server takes faster than many values
attempt      what became of one item
recorder     what became of a chunk, as one call of the server
preparation  what items need from elsewhere, fetched before their transaction
tolerance    when failures are too many to go on
timeout      a bound on how long one item's code may run
stop         SIGTERM and SIGINT, heard between two items
garbage      fewer garbage collections, which would find nothing
watch        a heartbeat beside the work, and an eye on a peer that froze
"""
