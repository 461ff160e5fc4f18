"""The loop of a worker.

worker       takes items in chunks, tries them, records them
claims       which items come next: ranges that nobody else holds, and items that wait for another try
preparation  what items need from elsewhere, fetched before their transaction
chunk        one transaction's worth of items, each isolated from the others
attempt      what became of one item
recorder     what became of a chunk, as one call of the server
tolerance    when failures are too many to go on
audit_log    the audit log of a run
"""
