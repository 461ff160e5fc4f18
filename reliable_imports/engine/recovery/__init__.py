"""What happens after a death.

connection     the connection of one process of a run, made again when it is lost
killer_search  work in child processes, and the search for items that kill them
suspects       what is written down of ranges in which a worker died
"""
