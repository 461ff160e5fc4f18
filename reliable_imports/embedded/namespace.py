"""Run a command as a known account inside a user namespace; started as a script: UID GID COMMAND...

PostgreSQL refuses to run as root, and to create a cluster for a uid without an account (`docker run --user 12345`). In
a user namespace the kernel shows it another uid, while files and signals keep the real one. A script, because code
between fork and exec must not run in a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWUSER = 0x10000000


def enter(uid: int, gid: int) -> None:
    """Be seen as *uid* and *gid* from now on, in this process and its children. Raises OSError where not allowed."""
    real_uid, real_gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "unshare"):
        raise OSError("this system has no user namespaces")
    if libc.unshare(_CLONE_NEWUSER):
        raise OSError(ctypes.get_errno(), "no user namespace is allowed here")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {real_uid} 1"), ("gid_map", f"{gid} {real_gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


if __name__ == "__main__":
    try:
        enter(int(sys.argv[1]), int(sys.argv[2]))
        os.execv(sys.argv[3], sys.argv[3:])
    except OSError as problem:
        sys.exit(str(problem))
