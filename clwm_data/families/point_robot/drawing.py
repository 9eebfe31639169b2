"""Pictures of point-robot in plain NumPy: hallway, goal and the path so far."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from clwm_data.colours import Colour

WIDTH, HEIGHT = 320, 240
SCALE = 100.0  # pixels per unit of length; the origin is in the middle of the picture
MARGIN = 0.05  # beyond the thickest line, in units of length

FLOOR: Colour = (250, 250, 247)
WALL: Colour = (196, 199, 204)
CIRCLE: Colour = (214, 219, 226)
GOAL: Colour = (214, 69, 53)
PATH_COLOUR: Colour = (90, 146, 214)
ROBOT: Colour = (28, 62, 112)

_X, _Y = np.meshgrid(
    (np.arange(WIDTH) + 0.5 - WIDTH / 2) / SCALE, (HEIGHT / 2 - np.arange(HEIGHT) - 0.5) / SCALE
)


def draw(
    path: NDArray[np.float64], goal: NDArray[np.float64], hallway_half_width: float | None
) -> NDArray[np.uint8]:
    """Draw an episode so far.

    Args:
        path: positions [n, 2] from the start to now.
        goal: [2].
        hallway_half_width: of the corridor below y = 0; ``None`` for an open field.

    Returns:
        [240, 320, 3]; y points up.
    """
    picture = _scene(float(goal[0]), float(goal[1]), hallway_half_width).copy()
    if len(path) > 1:
        _paint(picture, _distance_to_line(path) - 0.012, PATH_COLOUR)
    _paint(picture, np.hypot(_X - path[-1, 0], _Y - path[-1, 1]) - 0.04, ROBOT)
    return np.rint(picture).astype(np.uint8)


@lru_cache(maxsize=64)
def _scene(goal_x: float, goal_y: float, hallway_half_width: float | None) -> NDArray[np.float64]:
    """The static part of the picture: field, walls and goal."""
    picture = np.empty((HEIGHT, WIDTH, 3))
    picture[:] = FLOOR
    # Distances are signed: negative inside the shape.
    if hallway_half_width is not None:
        _paint(picture, np.maximum(_Y, hallway_half_width - np.abs(_X)), WALL)
    _paint(picture, np.maximum(np.abs(np.hypot(_X, _Y) - 1.0) - 0.006, -_Y), CIRCLE)
    _paint(picture, np.hypot(_X - goal_x, _Y - goal_y) - 0.05, GOAL)
    return picture


def _paint(picture: NDArray[np.float64], distance: NDArray[np.float64], colour: Colour) -> None:
    """Fill a shape given by its signed distance; its edge is blended over one pixel."""
    cover = np.clip(0.5 - distance * SCALE, 0.0, 1.0)[..., None]
    picture += cover * (np.asarray(colour, np.float64) - picture)


def _distance_to_line(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of every pixel to a line through points [n, 2]; infinite where it is more than 0.05."""
    nearest = np.full(_X.shape, np.inf)
    for (x, y), (dx, dy) in zip(points[:-1], np.diff(points, axis=0), strict=True):
        part = _window(x, x + dx, y, y + dy)
        from_x, from_y = _X[part] - x, _Y[part] - y
        along = np.clip((from_x * dx + from_y * dy) / max(dx * dx + dy * dy, 1e-12), 0.0, 1.0)
        nearest[part] = np.minimum(nearest[part], np.hypot(from_x - along * dx, from_y - along * dy))
    return nearest


def _window(x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
    """The pixels of a rectangle and of ``MARGIN`` around it."""

    def span(low: float, high: float, size: int) -> slice:
        ends = np.array([low - MARGIN, high + MARGIN]) * SCALE + size / 2
        first, last = np.clip(ends, 0, size).astype(int)
        return slice(int(first), int(last) + 1)

    return span(-max(y0, y1), -min(y0, y1), HEIGHT), span(min(x0, x1), max(x0, x1), WIDTH)
