"""The data of one person taken out of the tables: the rows stay, and say that their data was erased.

erasure  whose data, by the key of their items, and what was erased
search   which items have the key, and which may have it
texts    texts that belong to no item, or to another one, and may name the person all the same
erase    all of it, in one transaction
"""
