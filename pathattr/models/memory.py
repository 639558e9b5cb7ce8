"""How many points a device takes at once: `batch_size="auto"`."""

from __future__ import annotations

from collections.abc import Callable

from pathattr.models.backend import Backend

ON_HOST = 32
"""More at once gains nothing on a CPU: a few points keep its cores busy, and more leave its caches."""
ON_DEVICE = 256
SHARE = 0.5
"""Of the free memory that is used: allocators waste some, and the machine may have other users."""
PROBES = (1, 4)


def fitting(backend: Backend, call: Callable[[int], None]) -> int:
    """Return the number of points, a power of two, that fits the memory; `call(n)` takes n gradients.

    The growth of the memory's peak from one probe to the next tells what a point needs. Where it does not grow, or the
    backend does not tell, there is room for the most that is of use; an error of memory would halve it later.
    """
    most = ON_HOST if backend.on_host else ON_DEVICE
    peaks = []
    for count in PROBES:
        call(count)
        peaks.append(backend.memory())
    before, after = peaks
    if before is None or after is None or after.peak <= before.peak:
        return most
    each = (after.peak - before.peak) / (PROBES[1] - PROBES[0])
    room = max(1, int(SHARE * after.free / each))
    return min(most, 1 << (room.bit_length() - 1))
