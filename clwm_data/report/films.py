"""Rendered episodes as small animated pictures within the page."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np

from clwm_data.errors import ClwmError
from clwm_data.extras import require
from clwm_data.pages.html import split_label
from clwm_data.pages.numbers import number
from clwm_data.preview import Clip, preview_store
from clwm_data.preview.film import drawn_size
from clwm_data.store.reader import Store

MILLISECONDS = 83  # per picture: twelve a second
WIDTH = 320


def films(store: Store, tasks: list[int]) -> str:
    """Films of the best episode of each of these tasks, re-simulated.

    Returns:
        HTML: the films, or one sentence that says why there are none.
    """
    try:
        pillow = require("PIL.Image", "sim", "pictures in a report")
        clips = preview_store(store, tasks)
    except ClwmError as error:
        return f'<p class="note">No pictures: {escape(str(error))}</p>'
    return f'<div class="films">{"".join(_figure(clip, pillow) for clip in clips)}</div>'


def _figure(clip: Clip, pillow: Any) -> str:
    task = clip.task
    outcome = "" if clip.success is None else ", solved" if clip.success else ", not solved"
    doubt = "" if clip.faithful else " (this simulator leaves the stored path)"
    caption = f"{clip.label}{outcome}{doubt}"
    data, width, height = _animated(clip, pillow)
    return (
        f'<figure><img src="data:image/webp;base64,{data}" '
        f'width="{width}" height="{height}" alt="task {task.index}, {escape(caption, quote=True)}">'
        f"<figcaption><span>task {task.index} {split_label(task.split)}<br>"
        f"<small>{escape(caption)}</small></span>"
        f"<span>return {number(clip.episode_return)}</span></figcaption></figure>"
    )


def _animated(clip: Clip, pillow: Any) -> tuple[str, int, int]:
    """An animated WebP in base64, which pauses at the end of each loop; its width and height in pixels."""
    size = drawn_size(clip.pictures[0], WIDTH)
    pictures = [pillow.fromarray(np.asarray(picture)).resize(size) for picture in clip.pictures]
    buffer = io.BytesIO()
    durations = [MILLISECONDS] * (len(pictures) - 1) + [1500]
    pictures[0].save(
        buffer,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        quality=70,
        method=4,
    )
    return base64.b64encode(buffer.getvalue()).decode("ascii"), *size
