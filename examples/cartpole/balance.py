"""A policy for CartPole-v1: it pushes the cart to the side that the pole falls to, and errs now and then."""

import numpy as np


def set_length(env, length):
    """Give a CartPole a pole of this half-length (m), and the mass that goes with it."""
    cart = env.unwrapped
    cart.length = length
    cart.polemass_length = cart.masspole * length


def balance(task, generator):
    """The policy of one episode: observation [x, v, angle, speed] -> a number for each of the two actions."""
    random_share = generator.uniform(0.2, 1.0)

    def act(observation):
        if generator.uniform() < random_share:
            return generator.uniform(-1.0, 1.0, 2)
        position, velocity, angle, speed = observation
        push = angle + 0.3 * speed * np.sqrt(task.parameters["length"]) + 0.02 * position + 0.05 * velocity
        return np.array([-push, push])  # left, right: the larger one counts

    return act
