"""Seeds of episodes, which make a collection independent of the order of the work."""

from __future__ import annotations

import zlib

import numpy as np


def episode_seed(manifest_seed: int, family: str, task: int, episode: int) -> int:
    """Seed of an episode, in [0, 2^63): a function of these four alone."""
    entropy = [manifest_seed, zlib.crc32(family.encode()), task, episode]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
