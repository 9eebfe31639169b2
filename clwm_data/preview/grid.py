"""Clips side by side, labelled, as one picture or film."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.colours import Colour
from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.extras import require
from clwm_data.families.base import SPLITS, Split
from clwm_data.listing import format_parameters
from clwm_data.paths import check_file_place
from clwm_data.preview.film import Clip, drawn_size, frames
from clwm_data.store.atomic import replacing

FORMATS = (".gif", ".mp4", ".png")

MARGIN, HEADING, CAPTION = 12, 26, 38  # pixels
TILE_WIDTH, FILM_WIDTH = 320, 1320  # maximum width of a tile and of the whole film, in pixels
FRAMES_PER_SECOND = 12
MOST_IN_ROW = 4  # tasks of a split that are shown in a row of their own
ENCODER = "libx264"  # of .mp4

PAPER: Colour = (255, 255, 255)
INK: Colour = (32, 36, 42)
PALE: Colour = (108, 115, 125)
SOLVED: Colour = (24, 128, 72)
SPLIT_COLOURS: dict[Split, Colour] = {"train": (46, 98, 168), "id": (24, 128, 96), "ood": (190, 92, 22)}

_OWN_COLOURS = (PAPER, INK, PALE, SOLVED, *SPLIT_COLOURS.values())


def write_preview(clips: Sequence[Clip], path: Path, *, title: str) -> None:
    """Write clips as a grid: a film (``.gif``, ``.mp4``), or the episodes' last moments (``.png``).

    Raises:
        ClwmError: there are no clips, an error of :func:`check_format`, or the file cannot be written.
    """
    check_format(path)
    if not clips:
        raise InvalidInputError(f"{path}: there is no task to show")
    grid = _Grid(clips, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished:
            if path.suffix == ".png":
                grid.last().save(unfinished, format="PNG", optimize=True)
            elif path.suffix == ".gif":
                _write_gif(list(grid.moments()), unfinished)
            else:
                _write_mp4(grid.moments(), grid.size, unfinished)
    except OSError as error:
        raise UnavailableError(f"{path}: cannot be written: {error.strerror or error}") from error


def check_format(path: Path) -> Path:
    """The path, if a preview can be written there; call it before simulating anything.

    Raises:
        ClwmError: the file name has another suffix, or an error of :func:`check_file_place`.
        MissingExtraError: Pillow, or PyAV for ``.mp4``, is not installed.
    """
    if path.suffix not in FORMATS:
        raise InvalidInputError(f"{path}: a preview ends in {', '.join(FORMATS)}")
    check_file_place(path)
    require("PIL", "sim", "a preview")
    if path.suffix == ".mp4":
        _check_encoder(require("av", "video", "a preview as .mp4"), path)
    return path


def _check_encoder(av: Any, path: Path) -> None:
    try:
        av.codec.Codec(ENCODER, "w")
    except ValueError as error:
        raise UnavailableError(
            f"{path}: the installed PyAV has no encoder {ENCODER}: choose a .gif, or install `pip install av`"
        ) from error


class _Grid:
    """Draws the static parts once; each moment only pastes the pictures into a copy of them."""

    def __init__(self, clips: Sequence[Clip], title: str) -> None:
        self._image = require("PIL.Image", "sim", "a preview")
        self._draw = require("PIL.ImageDraw", "sim", "a preview")
        self._font = require("PIL.ImageFont", "sim", "a preview").load_default
        self._clips = clips
        places, columns = _places(clips)
        self._width = min(TILE_WIDTH, (FILM_WIDTH - MARGIN) // columns - MARGIN)
        self._drawn = drawn_size(clips[0].pictures[0], self._width)
        self._height = self._drawn[1]
        self._corners = [
            (
                MARGIN + column * (self._width + MARGIN),
                HEADING + MARGIN + row * (self._height + CAPTION + MARGIN),
            )
            for row, column in places
        ]
        right = max(left for left, _ in self._corners) + self._width + MARGIN
        bottom = max(top for _, top in self._corners) + self._height + CAPTION + MARGIN
        # Video codecs want even sizes.
        self._paper = self._image.new("RGB", (right + right % 2, bottom + bottom % 2), PAPER)
        self._heading(title)
        for clip, corner in zip(clips, self._corners, strict=True):
            self._caption(clip, corner)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, both even."""
        width, height = self._paper.size
        return width, height

    def moments(self) -> Iterator[Any]:
        """The grid at every moment of the clips."""
        return (self._compose(pictures) for pictures in frames(self._clips))

    def last(self) -> Any:
        """The grid at the end of every episode."""
        return self._compose([clip.pictures[-1] for clip in self._clips])

    def _compose(self, pictures: Sequence[NDArray[np.uint8]]) -> Any:
        moment = self._paper.copy()
        for picture, corner in zip(pictures, self._corners, strict=True):
            tile = self._image.fromarray(picture)
            if tile.size != self._drawn:
                tile = tile.resize(self._drawn, self._image.Resampling.LANCZOS)
            moment.paste(tile, (corner[0] + (self._width - self._drawn[0]) // 2, corner[1]))
        return moment

    def _heading(self, title: str) -> None:
        pen = self._draw.Draw(self._paper)
        pen.text((MARGIN, MARGIN), title, fill=INK, font=self._font(16))

    def _caption(self, clip: Clip, corner: tuple[int, int]) -> None:
        """Write below the tile: task, split and return; in smaller type, parameters, normalised return and
        outcome."""
        pen = self._draw.Draw(self._paper)
        left, top = corner[0], corner[1] + self._height + 4
        right = left + self._width
        large, small = self._font(14), self._font(11)
        name = f"task {clip.task.index}"
        pen.text((left, top), name, fill=INK, font=large)
        pen.text(
            (left + pen.textlength(name + "  ", font=large), top),
            clip.task.split,
            fill=SPLIT_COLOURS[clip.task.split],
            font=large,
        )
        score = f"return {clip.episode_return:.1f}"
        pen.text((right - pen.textlength(score, font=large), top), score, fill=INK, font=large)
        scaled = "" if clip.normalised_return is None else f"normalised {clip.normalised_return:.2f}"
        solved = "" if clip.success is None else "solved" if clip.success else "not solved"
        outcome = ", ".join(filter(None, (scaled, solved)))
        space = self._width - pen.textlength(outcome + "  ", font=small)
        details = _shortened(pen, format_parameters(clip.task.parameters), small, space)
        pen.text((left, top + 19), details, fill=PALE, font=small)
        colour = SOLVED if clip.success else PALE
        pen.text((right - pen.textlength(outcome, font=small), top + 19), outcome, fill=colour, font=small)


def _places(clips: Sequence[Clip]) -> tuple[list[tuple[int, int]], int]:
    """(row, column) of each clip, and the number of columns: a row per split, or else a square grid."""
    counts = Counter(clip.task.split for clip in clips)
    if len(counts) > 1 and 2 <= max(counts.values()) <= MOST_IN_ROW:
        rows = {split: row for row, split in enumerate(split for split in SPLITS if split in counts)}
        seen: Counter[str] = Counter()
        places = []
        for clip in clips:
            places.append((rows[clip.task.split], seen[clip.task.split]))
            seen[clip.task.split] += 1
        return places, max(counts.values())
    columns = 3 if len(clips) in (3, 6, 9) else math.ceil(math.sqrt(len(clips)))
    return [divmod(number, columns) for number in range(len(clips))], columns


def _shortened(pen: Any, text: str, font: Any, space: float) -> str:
    if pen.textlength(text, font=font) <= space:
        return text
    while text and pen.textlength(text + " ...", font=font) > space:
        text = text[:-1]
    return text.rstrip(" ,") + " ..."


def _write_gif(moments: Sequence[Any], path: Path) -> None:
    # One palette for all frames: static parts keep their colours, so only the changes are stored.
    palette = moments[len(moments) // 2].quantize(256 - len(_OWN_COLOURS))
    picture_colours = palette.getpalette()[: 3 * (256 - len(_OWN_COLOURS))]
    palette.putpalette(picture_colours + [value for colour in _OWN_COLOURS for value in colour])
    pages = [moment.quantize(palette=palette, dither=0) for moment in moments]
    duration = [round(1000 / FRAMES_PER_SECOND)] * (len(pages) - 1) + [1500]
    pages[0].save(
        path, format="GIF", save_all=True, append_images=pages[1:], duration=duration, loop=0, disposal=1
    )


def _write_mp4(moments: Iterator[Any], size: tuple[int, int], path: Path) -> None:
    av = require("av", "video", "a preview as .mp4")
    with av.open(str(path), "w", format="mp4") as film:
        stream = film.add_stream(ENCODER, rate=FRAMES_PER_SECOND, options={"crf": "20"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for moment in moments:
            film.mux(stream.encode(av.VideoFrame.from_image(moment)))
        film.mux(stream.encode())
