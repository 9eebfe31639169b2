"""Films of evaluations: they show the episodes that were counted, and change no number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clwm_data.errors import InvalidInputError, UnavailableError
from clwm_data.families import get_family
from clwm_data.families.point_robot.family import PointRobot, PointRobotSimulator
from clwm_data.families.simulation.simulator import Simulator
from clwm_data.opening import open_store
from clwm_train import EvaluationSettings, train
from clwm_train.evaluation import Episodes, evaluate
from clwm_train.evaluation.footage import Footage, film_run
from clwm_train.evaluation.protocols import Callbacks
from clwm_train.runs.loading import load_agent
from clwm_train.runs.run import Run
from clwm_train.settings import Execution
from tests.train.helpers import SMALL

pytest.importorskip("PIL.Image")
FAMILY = get_family("point-robot")
SETTINGS = EvaluationSettings(episodes=2, context_size=5, noise=0.5)


@pytest.fixture(scope="module")
def run(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two seeds with data of the tasks 0, 6 and 12."""
    return train(collected, seeds=[3, 5], overrides=SMALL, out=tmp_path_factory.mktemp("runs") / "run")


def test_clips_are_the_first_counted_episodes_and_change_nothing(run: Run, collected: Path) -> None:
    tasks = open_store(collected).tasks
    agent = load_agent(run)
    counted: dict[str, list[Episodes]] = {}
    plain = evaluate(agent, FAMILY, tasks, SETTINGS, execution=Execution(lanes=12))
    for row in (0, 1):
        footage = Footage(FAMILY, [12, 6, 20], row)

        def keep(protocol: str, episodes: Episodes, footage: Footage = footage) -> None:
            counted.setdefault(protocol, []).append(episodes)
            footage.keep(protocol, episodes)  # type: ignore[arg-type]

        assert (
            evaluate(
                agent,
                FAMILY,
                tasks,
                SETTINGS,
                execution=Execution(lanes=12),
                callbacks=Callbacks(on_episodes=keep),
            )
            == plain
        )
        assert footage.protocols == ["few-shot", "zero-shot"]
        for protocol, expected in (("few-shot", [12, 6]), ("zero-shot", [12, 6, 20])):
            clips = footage.clips(protocol)  # type: ignore[arg-type]
            assert [clip.task.index for clip in clips] == expected, "few-shot has no data of task 20"
            for clip in clips:
                lane, episodes = next(
                    (part.tasks.index(clip.task.index), part)
                    for part in counted[protocol]
                    if clip.task.index in part.tasks
                )
                assert clip.episode_return == episodes.returns[row, lane]
                assert clip.normalised_return == FAMILY.normalised_return(
                    clip.task.index, clip.episode_return
                )
                assert clip.faithful
                assert clip.steps == episodes.lengths[row, lane] == 40
                # The last picture is that of the simulator at the end of the counted episode.
                env = FAMILY.make_env(clip.task.index, render_mode="rgb_array")
                env.reset(seed=0)
                for action in episodes.actions[row, lane]:
                    end, *_ = env.step(action)
                np.testing.assert_array_equal(end, episodes.observations[row, lane, -1])
                np.testing.assert_array_equal(clip.pictures[-1], env.render())


def test_the_film_of_a_run_shows_what_its_evaluation_counts(run: Run, collected: Path) -> None:
    store = open_store(collected)
    counted: dict[int, float] = {}

    def keep(protocol: str, episodes: Episodes) -> None:
        for lane, task in enumerate(episodes.tasks):
            counted.setdefault(task, float(episodes.returns[1, lane]))

    settings = SETTINGS.model_copy(update={"protocols": ("few-shot",)})
    evaluate(load_agent(run), FAMILY, store.tasks, settings, callbacks=Callbacks(on_episodes=keep))
    clips = film_run(run, store, settings, row=1, still=True)
    assert [clip.task.index for clip in clips] == [12, 6, 0], "train, id, ood; only those with data"
    assert [clip.episode_return for clip in clips] == pytest.approx([counted[12], counted[6], counted[0]])
    assert all(len(clip.pictures) == 1 for clip in clips)
    assert [clip.task.index for clip in film_run(run, store, settings, tasks=[0, 12])] == [12, 0]


def test_an_episode_that_does_not_repeat_is_told(run: Run, collected: Path) -> None:
    footage = Footage(FAMILY, [6])

    def alter(protocol: str, episodes: Episodes) -> None:
        if 6 in episodes.tasks:
            episodes.observations[0, episodes.tasks.index(6), 3] += 1e-6
        footage.keep(protocol, episodes)  # type: ignore[arg-type]

    settings = SETTINGS.model_copy(update={"protocols": ("zero-shot",)})
    evaluate(
        load_agent(run), FAMILY, open_store(collected).tasks, settings, callbacks=Callbacks(on_episodes=alter)
    )
    assert [clip.faithful for clip in footage.clips("zero-shot")] == [False]


def test_what_cannot_be_filmed_is_said_before_anything_is_computed(run: Run, collected: Path) -> None:
    class Blind(PointRobotSimulator):
        render = Simulator.render

    class BlindFamily(PointRobot):
        def make_simulator(self, tasks: list[int], **options: object) -> Simulator:  # type: ignore[override]
            return Blind(tasks, np.zeros((len(tasks), 2)))

    with pytest.raises(UnavailableError, match="family point-robot cannot be drawn"):
        Footage(BlindFamily(), [0])
    with pytest.raises(InvalidInputError, match="no data of task 7,20 to adapt to: name other tasks"):
        film_run(run, open_store(collected), SETTINGS, tasks=[7, 12, 20])
    with pytest.raises(InvalidInputError, match="few-shot: there is no data to adapt to"):
        film_run(run, None, SETTINGS)
