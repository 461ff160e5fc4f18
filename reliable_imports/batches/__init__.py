"""Batches as a whole: made from a source, made again of failures, stopped, read and verified.

create        items of a source become a batch
deliveries    what came before, under the same key or with the same content
column_check  whether a source has the fields that its processor reads
duplicates    items of one batch that are about the same thing
staging       the items of a try
repeats/      batches that run items of others again
corrections/  failures as a file that people edit
control       pause and cancel
failures      causes over all batches, and what people say of them
counts        what failed in a batch that has ended, counted once
read          what people ask of batches, items, runs and logs
verify        counting again
purge         the data of old batches taken out
erasing/      the data of one person taken out
"""
