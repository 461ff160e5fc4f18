"""Running items again: batches that repeat items of others.

reprocess   a new batch of what a request takes
request     what a request says
canary      a few items of each reason first, then the rest
correcting  a repeat that has data of its own
skipping    a repeat that gives its items up
settling    failures that a later delivery has settled
taking      how a batch of repeats is made, and what it keeps
"""
