"""Pictures and films of episodes: acted on the spot, or re-simulated from what a store holds."""

from clwm_data.preview.clips import (
    Choice,
    Clip,
    clip_of_behaviour,
    clip_of_episode,
    default_behaviour,
    preview_family,
    preview_store,
)
from clwm_data.preview.grid import FORMATS, check_format, write_preview

__all__ = [
    "FORMATS",
    "Choice",
    "Clip",
    "check_format",
    "clip_of_behaviour",
    "clip_of_episode",
    "default_behaviour",
    "preview_family",
    "preview_store",
    "write_preview",
]
