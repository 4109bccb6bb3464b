"""What worker processes have in common: one thread, and an end with their parent.

One that is left over would work beside its replacement.
"""

import os
import signal
import sys

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}


def end_with_parent(number: signal.Signals, parent: int | None = None) -> None:
    """Has Linux send this process the signal when its parent ends; does nothing elsewhere.

    parent: its process id, where it may have ended already: then the signal comes at once.
    """
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None).prctl(1, number)  # PR_SET_PDEATHSIG
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)
