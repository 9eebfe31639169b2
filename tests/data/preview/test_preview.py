from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, InvalidInputError, UnavailableError
from clwm_data.families import TaskFamily, get_family
from clwm_data.families.base import Split, Task
from clwm_data.families.point_robot.family import PointRobotSimulator
from clwm_data.families.simulation.simulator import Simulator
from clwm_data.opening import open_store
from clwm_data.preview import (
    Clip,
    check_format,
    clip_of_episode,
    preview_family,
    preview_store,
    write_preview,
)
from clwm_data.preview.clips import typical_tasks
from clwm_data.preview.film import frames
from clwm_data.preview.grid import CAPTION, HEADING, MARGIN

images = pytest.importorskip("PIL.Image")


def plain(colour: int, *, count: int = 1, success: bool | None = None, index: int = 0) -> Clip:
    """A clip of ``count`` pictures, the last of which is ``colour`` and the others 20 brighter each."""
    pictures = [np.full((240, 320, 3), colour + 20 * number, np.uint8) for number in range(count)][::-1]
    task = Task(index, "ood", {"goal": tuple(float(n) for n in range(40))})
    return Clip(task, "test", pictures, steps=2 * count, episode_return=-1.25, success=success)


def pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(images.open(path).convert("RGB"))


def test_typical_tasks_are_spread_over_each_split() -> None:
    family = get_family("point-robot")
    assert typical_tasks(family) == [10, 20, 29, 5, 9, 34, 0, 4, 39]
    assert typical_tasks(family, [0, 20, 21, 22, 23, 24]) == [20, 22, 24, 0]
    assert typical_tasks(family, []) == []


def test_a_behaviours_episode_is_filmed_from_start_to_end_and_repeats() -> None:
    family = get_family("point-robot")
    (clip,) = preview_family(family, [12])
    assert (clip.label, clip.steps, len(clip.pictures)) == ("scripted", 40, 41)
    env, policy = family.make_env(12, render_mode="rgb_array"), family.scripted_policy(12)
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(clip.pictures[0], env.render())
    total, truncated = 0.0, False
    while not truncated:
        observation, reward, _, truncated, _ = env.step(policy(observation[None], None)[0].astype(np.float32))
        total += float(np.float32(reward))
    np.testing.assert_array_equal(clip.pictures[-1], env.render())
    assert clip.episode_return == pytest.approx(total, abs=1e-6)
    assert clip.success is None

    (still,) = preview_family(family, [12], still=True)
    assert len(still.pictures) == 1
    np.testing.assert_array_equal(still.pictures[0], clip.pictures[-1])

    noisy = [preview_family(family, [12], noise=0.3, seed=seed)[0] for seed in (1, 1, 2)]
    assert noisy[0].episode_return == noisy[1].episode_return != noisy[2].episode_return
    assert noisy[0].label == "scripted, noise 0.3"


def test_stored_episodes_are_resimulated_faithfully(collected: Path) -> None:
    store = open_store(collected)
    arrays = store.tasks[6].load()
    (best,) = preview_store(store, [6])
    (worst,) = preview_store(store, [6], episode="worst")
    (third,) = preview_store(store, [6], episode=2)
    assert best.episode_return == arrays.episode_return.max()
    assert worst.episode_return == arrays.episode_return.min()
    assert (third.episode_return, third.label) == (arrays.episode_return[2], "episode 2")
    assert all(clip.faithful and len(clip.pictures) == 41 for clip in (best, worst, third))
    assert [clip.task.index for clip in preview_store(store)] == [12, 6, 0]
    with pytest.raises(ClwmError, match=r"task 6: has no episode 5: its episodes are 0 to 4"):
        preview_store(store, [6], episode=5)
    with pytest.raises(ClwmError, match="holds no task 7"):
        preview_store(store, [7])


def test_a_resimulation_that_leaves_the_stored_path_is_told(collected: Path) -> None:
    episode = open_store(collected).tasks[6].load().episode(0)
    altered = episode.observation.copy()
    altered[17, 0] += 1e-6
    clip = clip_of_episode(get_family("point-robot"), 6, replace(episode, observation=altered), "altered")
    assert not clip.faithful
    assert clip.episode_return == pytest.approx(float(episode.reward.sum(dtype=np.float64)))


def test_an_episode_without_a_simulator_state_cannot_be_filmed(collected: Path) -> None:
    episode = replace(open_store(collected).tasks[6].load().episode(0), initial_state=None)
    with pytest.raises(ClwmError, match=r"task 6 converted: cannot be re-simulated"):
        clip_of_episode(get_family("point-robot"), 6, episode, "converted")


def test_an_unknown_behaviour_is_refused() -> None:
    with pytest.raises(ClwmError, match=r"no behaviour 'expert'; it has: random, scripted, learned"):
        preview_family(get_family("point-robot"), [0], behaviour="expert")
    with pytest.raises(ClwmError, match="random actions take no noise"):
        preview_family(get_family("point-robot"), [0], behaviour="random", noise=0.1)


def test_a_family_without_pictures_is_refused_in_one_line() -> None:
    class Blind(PointRobotSimulator):
        render = Simulator.render

    point = get_family("point-robot")

    class BlindFamily(type(point)):  # type: ignore[misc]
        def make_simulator(self, tasks: list[int], **options: object) -> Simulator:
            return Blind(tasks, np.zeros((len(tasks), 2)))

    family: TaskFamily = BlindFamily()
    with pytest.raises(ClwmError, match="family point-robot cannot be drawn"):
        preview_family(family, [0])


def _breaks() -> NDArray[np.uint8]:
    raise ZeroDivisionError("the lamp\nis broken")


@pytest.mark.parametrize(
    ("render", "message"),
    [
        (_breaks, "its render() fails: ZeroDivisionError: the lamp is broken"),
        (lambda: sys.exit(0), "its render() fails: SystemExit: 0"),
        (lambda: [[[0, 0, 0]]], "renders no picture"),
        (lambda: np.zeros((0, 4, 3), np.uint8), "renders no picture"),
        (lambda: np.zeros((4, 4, 4), np.uint8), "renders no picture"),
        (lambda: None, "renders no picture"),
    ],
)
def test_what_is_no_picture_is_one_line(
    render: Callable[[], Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PointRobotSimulator, "render", lambda self, lane: render())
    with pytest.raises(UnavailableError) as caught:
        preview_family(get_family("point-robot"), [0])
    assert str(caught.value).startswith("family point-robot cannot be drawn: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_episode_that_has_ended_keeps_its_last_picture() -> None:
    shown = [
        [int(picture[0, 0, 0]) for picture in moment] for moment in frames([plain(10), plain(90, count=3)])
    ]
    assert shown == [[10, 130], [10, 110], [10, 90]]


def test_png_holds_the_last_moments_side_by_side_with_captions(tmp_path: Path) -> None:
    clips = [plain(20 * n, count=2, success=n == 1, index=n) for n in range(1, 5)]
    write_preview(clips, tmp_path / "a.png", title="four")
    grid = pixels(tmp_path / "a.png")
    assert grid.shape == (HEADING + 2 * (240 + CAPTION) + 3 * MARGIN, 2 * 320 + 3 * MARGIN, 3)
    for number, clip in enumerate(clips):
        left = MARGIN + (number % 2) * (320 + MARGIN)
        top = HEADING + MARGIN + (number // 2) * (240 + CAPTION + MARGIN)
        np.testing.assert_array_equal(grid[top : top + 240, left : left + 320], clip.pictures[-1])
        below = grid[top + 240 : top + 240 + CAPTION, left : left + 320]
        assert (below < 128).any(axis=2).sum() > 100, "there is no caption"
        assert (grid[top : top + 240 + CAPTION, left + 320 : left + 320 + MARGIN] == 255).all(), "text spills"
    assert (grid[:HEADING, :320] < 128).any(), "there is no title"


@pytest.mark.parametrize("count", [1, 5, 9, 30])
def test_a_grid_is_never_wider_than_a_screen(count: int, tmp_path: Path) -> None:
    write_preview([plain(40, index=n) for n in range(count)], tmp_path / "a.png", title="many")
    height, width, _ = pixels(tmp_path / "a.png").shape
    assert width <= 1320
    assert height % 2 == width % 2 == 0


@pytest.mark.parametrize(
    ("shape", "size"),
    [((2000, 3), (1, 640)), ((40_000, 1), (1, 640)), ((400, 100), (160, 640)), ((1, 5000), (320, 1))],
)
@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_thin_pictures_are_drawn_no_higher_than_twice_as_wide_as_a_tile(
    shape: tuple[int, int], size: tuple[int, int], suffix: str, tmp_path: Path
) -> None:
    clip = replace(plain(0), pictures=[np.full((*shape, 3), 40, np.uint8)] * 2)
    write_preview([clip], tmp_path / f"a{suffix}", title="")
    grid = pixels(tmp_path / f"a{suffix}")
    height = HEADING + CAPTION + 2 * MARGIN + size[1]
    assert grid.shape[:2] == (height + height % 2, 320 + 2 * MARGIN)
    shown = (grid == 40).all(axis=2)[HEADING + MARGIN :][: size[1]]
    assert (shown.any(axis=0).sum(), shown.any(axis=1).sum()) == size
    assert abs(np.flatnonzero(shown.any(axis=0)).mean() - (MARGIN + 159.5)) <= 0.5, "it is not in the middle"


def test_gif_shows_every_moment_and_loops(tmp_path: Path) -> None:
    write_preview([plain(40, count=4), plain(200)], tmp_path / "a.gif", title="two")
    film = images.open(tmp_path / "a.gif")
    assert (film.n_frames, film.info["loop"]) == (4, 0)
    levels = []
    for number in range(4):
        film.seek(number)
        levels.append(int(np.asarray(film.convert("RGB"))[100, 100, 0]))
    np.testing.assert_allclose(levels, [100, 80, 60, 40], atol=8)  # 256 colours at most


def test_gif_keeps_the_colours_of_the_splits(tmp_path: Path) -> None:
    """A palette taken from the pictures alone would lose the few pixels of coloured text."""
    generator = np.random.default_rng(0)
    clip = replace(plain(0), pictures=[generator.integers(0, 255, (240, 320, 3), dtype=np.uint8)])
    write_preview([clip], tmp_path / "a.gif", title="colours")
    caption = pixels(tmp_path / "a.gif")[-CAPTION - MARGIN :].astype(int)
    assert (np.abs(caption - (190, 92, 22)).max(axis=2) < 8).any()


def test_mp4_has_the_moments_and_the_colours(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    write_preview([plain(40, count=5)], tmp_path / "a.mp4", title="one")
    with av.open(str(tmp_path / "a.mp4")) as film:
        decoded = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(decoded) == 5
    assert abs(int(decoded[0][150, 150, 1]) - 120) <= 4


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ClwmError, match=r"ends in .gif, .mp4, .png"):
        write_preview([plain(1)], tmp_path / "a.jpg", title="")
    with pytest.raises(ClwmError, match="no task to show"):
        write_preview([], tmp_path / "new" / "a.gif", title="")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(ClwmError, match=r"/file is a file: choose another place"):
        write_preview([plain(1)], tmp_path / "file" / "new" / "a.gif", title="")
    write_preview([plain(1)], tmp_path / "new" / "er" / "a.gif", title="")
    assert (tmp_path / "new" / "er" / "a.gif").is_file()


def test_a_place_where_nothing_can_be_written_is_found_before_anything_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.gif").mkdir()
    with pytest.raises(InvalidInputError, match=r"a\.gif: is a folder: name a file in it"):
        check_format(tmp_path / "a.gif")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # root may write anywhere
    with pytest.raises(
        InvalidInputError, match=r"b\.gif: nothing can be written in .*: choose another place"
    ):
        check_format(tmp_path / "new" / "b.gif")


def test_a_write_that_fails_names_the_preview_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(UnavailableError, match=r"/a\.png: cannot be written: No space left on device$"):
        write_preview([plain(1)], tmp_path / "a.png", title="")
    assert list(tmp_path.iterdir()) == []


def test_each_split_has_a_row(tmp_path: Path) -> None:
    """Three train tasks, one id, two ood; what is below a row's last tile is blank."""
    splits: list[Split] = ["train", "train", "train", "id", "ood", "ood"]
    clips = [
        replace(plain(20 * n), task=Task(n, split, {}), normalised_return=0.5 * n)
        for n, split in enumerate(splits)
    ]
    write_preview(clips, tmp_path / "a.png", title="rows")
    grid = pixels(tmp_path / "a.png")
    assert grid.shape[:2] == (HEADING + 3 * (240 + CAPTION) + 4 * MARGIN, 3 * 320 + 4 * MARGIN)
    for (row, column), clip in zip(((0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1)), clips, strict=True):
        left, top = MARGIN + column * (320 + MARGIN), HEADING + MARGIN + row * (240 + CAPTION + MARGIN)
        np.testing.assert_array_equal(grid[top : top + 240, left : left + 320], clip.pictures[-1])
        assert (grid[top + 259 : top + 275, left + 200 : left + 320] < 200).any(), "the normalised return"
    empty = grid[HEADING + MARGIN + 240 + CAPTION + MARGIN :, 2 * MARGIN + 320 + 320 + MARGIN :]
    assert (empty == 255).all()
