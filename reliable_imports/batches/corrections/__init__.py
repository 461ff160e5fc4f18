"""Failed items as a file, for whoever knows the data; and the file, edited, as corrections.

export   which items are in the file, and what each row of it says
written  the file: CSV, JSON Lines, or a workbook
cells    a value as a cell, and an edited cell as a value: what was not touched comes back as it was
reshown  what a spreadsheet makes of a value by itself, which is no edit
edits    the edited file, compared with what is stored: what was changed, and what may not be
sorting  which corrections can still be made: an item is repeated once
"""
