"""One item's writes kept apart from its neighbours', within the transaction of a chunk.

transaction      the chunk's transaction: what is sent in it, and what makes it impossible to go on
item_record      what one item did so far
row_images       what rows are before and after the items that write them, for a try
statements       what is known of the statements that items send
savepoints       items that run statements of their own
declared_writes  writes that are sent together, and isolated on the server
as_columns       one way to send them: one statement for many rows
as_statements    the other way: a statement for each write
row_kinds        which of them may share a statement
write_error      why the server has refused one
chunk_writes     both of a chunk
item_writes      what an item may do, and how it ends: complete or undone
"""
