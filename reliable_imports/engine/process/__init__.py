"""The operating system's side of a run.

child_process     one child process, and how it ended
observer          who is told what a worker is at
heartbeat         a heartbeat beside the work, and an eye on a peer that froze
stop_signal       SIGTERM and SIGINT, heard between two items
call_result       what one of several calls gave
concurrent_calls  several calls of one function at once, in threads or as tasks
time_limit        a bound on how long one item's code may run
interpreter       settings of Python while a batch is worked
"""
