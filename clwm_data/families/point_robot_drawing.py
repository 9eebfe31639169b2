"""Pictures of point-robot in plain NumPy: hallway, goal, the way so far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 240
SCALE = 100.0  # pixels per unit of length; the origin is in the middle of the picture

Colour = tuple[int, int, int]
FLOOR: Colour = (250, 250, 247)
WALL: Colour = (196, 199, 204)
CIRCLE: Colour = (214, 219, 226)
GOAL: Colour = (214, 69, 53)
WAY: Colour = (90, 146, 214)
ROBOT: Colour = (28, 62, 112)

_X, _Y = np.meshgrid(
    (np.arange(WIDTH) + 0.5 - WIDTH / 2) / SCALE, (HEIGHT / 2 - np.arange(HEIGHT) - 0.5) / SCALE
)


def draw(way: NDArray[np.float64], goal: NDArray[np.float64], hallway_half_width: float) -> NDArray[np.uint8]:
    """Draw an episode so far.

    Args:
        way: positions [n, 2] from the start to now.
        goal: [2].
        hallway_half_width: of the corridor below y = 0.

    Returns:
        [240, 320, 3]; y points up.
    """
    picture = np.empty((HEIGHT, WIDTH, 3))
    picture[:] = FLOOR
    # Distances are signed: negative inside the shape.
    _paint(picture, np.maximum(_Y, hallway_half_width - np.abs(_X)), WALL)
    _paint(picture, np.maximum(np.abs(np.hypot(_X, _Y) - 1.0) - 0.006, -_Y), CIRCLE)
    _paint(picture, np.hypot(_X - goal[0], _Y - goal[1]) - 0.05, GOAL)
    if len(way) > 1:
        _paint(picture, _distance_to_line(way) - 0.012, WAY)
    _paint(picture, np.hypot(_X - way[-1, 0], _Y - way[-1, 1]) - 0.04, ROBOT)
    return np.rint(picture).astype(np.uint8)


def _paint(picture: NDArray[np.float64], distance: NDArray[np.float64], colour: Colour) -> None:
    """Fill a shape given by its signed distance; its edge is blended over one pixel."""
    cover = np.clip(0.5 - distance * SCALE, 0.0, 1.0)[..., None]
    picture += cover * (np.asarray(colour, np.float64) - picture)


def _distance_to_line(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every pixel to a line through points [n, 2]."""
    nearest = np.full(_X.shape, np.inf)
    for (x, y), (dx, dy) in zip(points[:-1], np.diff(points, axis=0), strict=True):
        along = ((_X - x) * dx + (_Y - y) * dy) / max(dx * dx + dy * dy, 1e-12)
        along = np.clip(along, 0.0, 1.0)
        np.minimum(nearest, np.hypot(_X - x - along * dx, _Y - y - along * dy), out=nearest)
    return nearest
