"""What a person writes: the class of an import, what it may declare, and what its code is given.

registry       which processors there are
table          the most common import, declared
base           the class that a person writes
context        what an item's code works with
item           an item as the processor gets it
params         what a batch can be told
table_reading  facts of a processor that leaves something to its table
facts          what a class says of itself, for those who work with it
table_row      a table as what items are checked against
declarations   what attributes may be, and the mistakes that are told at registration
code_version   which code of a processor worked a batch
this_process   the process, known without a system call
result         what `process_item` returns, as it is kept
"""
