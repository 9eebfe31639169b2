"""A policy for Pendulum-v1: it pumps energy until the pole is nearly upright, and then balances it.

How well depends on the episode: a share of the actions is random, and the share is drawn for each episode. An
agent can do better than these data on average, since it can tell the good actions from the bad ones.
"""

import numpy as np

TORQUE = 2.0  # the largest that the environment allows


def swing_up(task, generator):
    """The policy of one episode: observation [cos, sin, speed] -> action in [-1, 1]."""
    gravity = task.parameters["g"]
    random_share = generator.uniform(0.0, 0.8)

    def act(observation):
        if generator.uniform() < random_share:
            return generator.uniform(-1.0, 1.0, 1)
        cosine, sine, speed = observation
        angle = np.arctan2(sine, cosine)  # 0: upright
        missing_energy = gravity / 2.0 * (1.0 - cosine) - speed**2 / 6.0  # of a rod: m = l = 1, I = 1 / 3
        if cosine > 0.9:
            torque = -(gravity / 2.0 * sine + 8.0 * angle + 2.0 * speed)
        else:
            torque = 2.0 * missing_energy * np.sign(speed)
        return np.clip([torque / TORQUE], -1.0, 1.0)

    return act
