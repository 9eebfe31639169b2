"""Colours of pixels; those of figures are in :mod:`clwm_data.pages.palette`."""

from __future__ import annotations

#: Red, green and blue, 0 to 255.
Colour = tuple[int, int, int]
