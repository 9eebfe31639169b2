"""Pictures and films of episodes: acted on the spot, or re-simulated from what a store holds."""

from clwm_data.preview.clips import (
    Acted,
    Choice,
    clip_of_actions,
    clip_of_behaviour,
    clip_of_episode,
    default_behaviour,
    preview_family,
    preview_store,
    typical_tasks,
)
from clwm_data.preview.film import Clip, check_drawable
from clwm_data.preview.grid import FORMATS, check_format, write_preview

__all__ = [
    "FORMATS",
    "Acted",
    "Choice",
    "Clip",
    "check_drawable",
    "check_format",
    "clip_of_actions",
    "clip_of_behaviour",
    "clip_of_episode",
    "default_behaviour",
    "preview_family",
    "preview_store",
    "typical_tasks",
    "write_preview",
]
