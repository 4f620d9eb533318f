"""What the log is written to: it is shared by the workers, the processes that probe and the supervisor."""

from __future__ import annotations

import os
import select
import stat

STANDARD_ERROR = 2


def write_lines(lines: bytes, *, descriptor: int = STANDARD_ERROR) -> int:
    """Writes some of these bytes, and says how many; waits for a reader who is slow.

    Raises:
        OSError: none can be written: the disk is full, or nobody will read them.
    """
    while True:
        try:
            # Not through Python's buffer: a thread that is stuck in it would keep the process from ending.
            return os.write(descriptor, lines)
        # Whoever shares a pipe can have it not wait, and it is the same pipe for all of them.
        except BlockingIOError:
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll()


def is_within_line(*, descriptor: int = STANDARD_ERROR) -> bool | None:
    """Whether what is written next goes on with a line that was cut off, whoever wrote it.

    None where that cannot be seen: in a file that this process may not read. A pipe takes lines as a whole.
    """
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        # The descriptor itself is for writing only.
        file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(file).st_size
            return size > 0 and os.pread(file, 1, size - 1) != b"\n"
        finally:
            os.close(file)
    except OSError:
        return None
