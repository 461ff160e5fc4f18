"""The loop of a worker.

worker       the loop: claim, prepare, try, write, record, go on
claims       which items come next: ranges that nobody else holds, and items that wait for another try
preparation  what items need from elsewhere, fetched before their transaction
chunks       makes chunks, by what the last ones have taught
chunk        one transaction's worth of items, each isolated from the others
in_flight    what overlaps: a chunk that the server is at work on, and the items after it
user_code    the processor's code as the engine calls it
attempt      what became of one item
diagnosis    what is kept of a failure; the server is asked where its error does not say
row_notes    what a completed item says of rows that are not as it meant them
recorder     what became of a chunk, as one call of the server
retries      when to look for items that wait for another try
doubts       items whose chunk was undone: how carefully they are tried again
tolerance    when failures are too many to go on
audit_log    the audit log: what a run says, and what was said of its items
"""
