"""What a team's code says of a failure in it. Each module imports only from those below it.

places        where an error arose, told so that it stays the same while the fault does
functions     a function as a tree, for whoever asks for one of its conditions
conditions    the conditions and loops that lead to a place, and which of several alike it is
said          what a `raise` says
expressions   expressions as text, without the names of local variables
scopes        what the local variables of a function are made of
nodes         from an instruction of the code that runs to the expression that it was compiled from
source_files  the files of a team's code, as they were when it was loaded, and their trees
team          which files are a team's own
"""
