"""One item: its source data as text and as values, and what is known of its failure.

source_item     what a source yields
given           what a caller gives beside the items
json_write      objects of Python as JSON
json_check      whether a text is JSON that PostgreSQL reads too
json_read       a stored item as values of Python
cells           how a source writes its cells, as a processor declares it
model_fields    what a model asks of a source
failure         what is kept of an error
fingerprint     which cause it has
rejection       why a processor does not want an item
code/           what a team's code says of a failure in it
message_values  an error's message without the item's values
redaction       items as they may be shown
log_details     details of a log line
short_repr      the start of an object's repr
"""
