"""One item's writes kept apart from its neighbours'.

session  the transaction as its items see it: savepoints and declared writes
"""
