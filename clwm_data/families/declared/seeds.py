"""Seeds of episodes in environments of others."""

from __future__ import annotations


def folded(seed: int) -> int:
    """A seed of up to 63 bits in 32, since many environments take no more."""
    return (seed ^ (seed >> 32)) & 0xFFFFFFFF
