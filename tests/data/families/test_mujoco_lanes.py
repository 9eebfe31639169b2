"""Kinds of lanes against one another and against MuJoCo itself."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clwm_data.families import get_family
from clwm_data.families.dm_control.base import DmControlFamily
from clwm_data.families.simulation.mujoco_models import compile_model, package_file

mujoco = pytest.importorskip("mujoco")
pytest.importorskip("mjbatch")

from clwm_data.families.simulation.mjbatch_lanes import BatchLanes, differing_fields  # noqa: E402
from clwm_data.families.simulation.mujoco_lanes import (  # noqa: E402
    STATE,
    Lanes,
    LoopLanes,
    SingleLane,
    make_lanes,
    state_of,
)

FIELDS = ("qpos", "qvel", "xpos", "sensordata")


def cheetahs(lengths: Sequence[float]) -> list[Any]:
    family = get_family("cheetah-ls")
    assert isinstance(family, DmControlFamily)
    return [family.load_model(length) for length in lengths]


MODELS = cheetahs((0.3, 0.5, 0.7))


def falling(model: Any) -> NDArray[np.float64]:
    """A state in which the feet touch the ground."""
    data = mujoco.MjData(model)
    mujoco.mj_step(model, data, 60)
    assert data.ncon > 0
    return state_of(model, data)


def kinds(models: Sequence[Any]) -> list[Lanes]:
    return [
        LoopLanes(models, FIELDS),
        LoopLanes(models, FIELDS, threads=2),
        BatchLanes(models, FIELDS, threads=1),
        BatchLanes(models, FIELDS, threads=3),
    ]


#: What happens to the lanes: steps and refreshes in some of them, controls from a seed.
Script = list[tuple[str, int, list[bool]]]
scripts: st.SearchStrategy[Script] = st.lists(
    st.tuples(
        st.sampled_from(["step", "step", "refresh", "ctrl", "restore"]),
        st.integers(1, 3),
        st.lists(st.booleans(), min_size=3, max_size=3).filter(any),
    ),
    min_size=1,
    max_size=8,
)


def play(lanes: Lanes, script: Script) -> list[NDArray[np.float64]]:
    """States and, where they must be up to date, derived fields after each action."""
    for lane, model in enumerate(MODELS):
        lanes.set_state(lane, falling(model))
    seen = []
    for number, (action, amount, chosen) in enumerate(script):
        mask = np.array(chosen)
        if action == "step":
            lanes.step(amount, mask)
        elif action == "refresh":
            lanes.refresh(mask)
            for field in ("xpos", "sensordata"):
                seen.append(lanes.read(field)[mask].copy())
        elif action == "ctrl":
            lanes.set_ctrl(np.random.default_rng(number).uniform(-1, 1, (3, 6)))
        else:
            lane = chosen.index(True)
            lanes.set_state(lane, falling(MODELS[lane]))
        seen += [lanes.get_state(lane) for lane in range(3)]
        seen += [lanes.read("qpos").copy(), lanes.read("qvel").copy()]
    return seen


@settings(max_examples=40, deadline=None)
@given(script=scripts)
def test_all_kinds_give_the_same_bits(script: Script) -> None:
    first, *others = [play(lanes, script) for lanes in kinds(MODELS)]
    for other in others:
        assert all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("kind", ["single", "loop", "batch"])
def test_lanes_step_as_mujoco_does_and_refresh_brings_fields_up_to_the_state(kind: str) -> None:
    model = MODELS[2]
    lanes: Lanes = {
        "single": lambda: SingleLane(model, FIELDS),
        "loop": lambda: LoopLanes([MODELS[0], model], FIELDS),
        "batch": lambda: BatchLanes([MODELS[0], model], FIELDS),
    }[kind]()
    lane = len(lanes.models) - 1
    data = mujoco.MjData(model)
    mujoco.mj_setState(model, data, falling(model), STATE)
    lanes.set_state(lane, falling(model))
    everything = np.ones(len(lanes.models), np.bool_)
    rng = np.random.default_rng(0)
    for refreshed in (False, True, True, False, True):
        ctrl = rng.uniform(-1, 1, 6)
        data.ctrl[:] = ctrl
        mujoco.mj_step(model, data, 3)
        lanes.set_ctrl(np.tile(ctrl, (len(lanes.models), 1)))
        lanes.step(3, everything)
        assert np.array_equal(lanes.get_state(lane), state_of(model, data))
        assert np.array_equal(lanes.read("sensordata")[lane], data.sensordata)  # one substep behind
        if refreshed:
            lanes.refresh(everything)
            now = mujoco.MjData(model)
            mujoco.mj_setState(model, now, state_of(model, data), STATE)
            mujoco.mj_forward(model, now)
            for field in FIELDS:
                assert np.array_equal(lanes.read(field)[lane], getattr(now, field)), field
    lanes.close()


@pytest.mark.parametrize("name", ["cheetah-ls", "walker-ls", "finger-ls"])
@pytest.mark.parametrize("order", [1, -1])
def test_lanes_of_very_different_lengths_touch_what_they_should(name: str, order: int) -> None:
    """Long episodes with many contacts: mjbatch's template has the shortest or the longest limbs of all."""
    family = get_family(name)
    tasks = [30, 4, 37][::order]
    together = family.make_simulator(tasks)
    apart = [family.make_simulator([task]) for task in tasks]
    together.reset(np.arange(3), [5, 6, 7])
    for seed, simulator in enumerate(apart, start=5):
        simulator.reset(np.zeros(1, np.int64), [seed])
    rng = np.random.default_rng(0)
    for _ in range(250):
        action = rng.uniform(-1, 1, (3, family.action_size))
        together.step(action, np.ones(3, np.bool_))
        for lane, simulator in enumerate(apart):
            simulator.step(action[[lane]], np.ones(1, np.bool_))
            assert np.array_equal(together.observe()[lane], simulator.observe()[0])


def test_models_whose_bounding_volumes_would_be_mixed_up_are_refused() -> None:
    models = cheetahs((0.3, 0.7))
    for model in models:
        model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
    BatchLanes(models[:1] * 2, FIELDS)
    with pytest.raises(ValueError, match="mjDSBL_MIDPHASE"):
        BatchLanes(models, FIELDS)


def test_runge_kutta_steps_are_whole_after_a_refresh() -> None:
    path = package_file("gymnasium", "envs", "mujoco", "assets", "hopper.xml", family="hopper-mass")
    model = compile_model(path, family="hopper-mass", textures=False)
    data = mujoco.MjData(model)
    lane = SingleLane(model, ("qpos",))
    for _ in range(5):
        lane.refresh(np.ones(1, np.bool_))
        lane.step(2, np.ones(1, np.bool_))
        mujoco.mj_step(model, data, 2)
    assert np.array_equal(lane.get_state(0), state_of(model, data))


def test_no_thread_goes_on_when_a_step_has_failed() -> None:
    """Nor when it was interrupted: the next call may reset what another thread still steps."""
    slow_begun, slow_done = threading.Event(), threading.Event()

    def post_step(model: Any, data: Any) -> None:
        if model is MODELS[0]:
            slow_begun.wait(10)
            raise ZeroDivisionError
        slow_begun.set()
        time.sleep(0.3)
        slow_done.set()

    lanes = LoopLanes(MODELS[:2], FIELDS, threads=2, post_step=post_step)
    with pytest.raises(ZeroDivisionError):
        lanes.step(1, np.ones(2, np.bool_))
    assert slow_done.is_set()
    lanes.close()


def test_what_follows_a_step_runs_once_in_each_active_lane() -> None:
    calls: list[int] = []
    lanes = make_lanes(MODELS, ("qpos",), post_step=lambda model, data: calls.append(id(model)))
    lanes.step(4, np.array([True, False, True]))
    assert calls == [id(MODELS[0]), id(MODELS[2])]


def test_fields_that_differ_are_found() -> None:
    fields = set(differing_fields(MODELS))
    assert {"geom_size", "geom_pos", "body_pos", "body_mass", "body_inertia", "dof_invweight0"} <= fields
    assert "geom_friction" not in fields
    assert set(differing_fields([MODELS[0]] * 3)) == set()


def test_models_of_different_sizes_are_refused() -> None:
    path = package_file("dm_control", "suite", "walker.xml", family="walker-ls")
    walker = compile_model(path, family="walker-ls", textures=False)
    with pytest.raises(ValueError, match="models differ in n"):
        BatchLanes([MODELS[0], walker], FIELDS)


def test_textures_are_left_out_unless_there_are_pictures() -> None:
    family = get_family("cheetah-ls")
    assert isinstance(family, DmControlFamily)
    lean, full = family.load_model(0.5), family.load_model(0.5, "rgb_array")
    assert lean.nbuffer < 100_000 < 10_000_000 < full.nbuffer
    for field in dir(lean):
        value = getattr(lean, field)
        if isinstance(value, np.ndarray) and not field.startswith(("_", "tex_")):
            assert np.array_equal(value, getattr(full, field)), field


def test_a_simulation_that_explodes_is_not_set_back_in_silence() -> None:
    lane = SingleLane(MODELS[1], ("qpos",))
    state = falling(MODELS[1])
    state[3] = np.nan
    lane.set_state(0, state)
    lane.step(1, np.ones(1, np.bool_))
    assert np.isnan(lane.read("qpos")).any()


@pytest.mark.parametrize(
    ("setup", "kind"),
    [
        ("sys.modules['mjbatch'] = None", "LoopLanes"),
        ("pass", "BatchLanes"),
    ],
)
def test_the_loop_takes_the_place_of_mjbatch(setup: str, kind: str) -> None:
    assert lanes_elsewhere(setup) == kind


def test_an_mjbatch_that_does_not_fit_mujoco_is_named() -> None:
    setup = (
        "import importlib.abc\n"
        "class Broken(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mjbatch._bindings': raise ImportError('libmujoco.so.3.14.0: not there')\n"
        "sys.meta_path.insert(0, Broken())"
    )
    assert lanes_elsewhere(setup).startswith("ClwmError mjbatch does not work with mujoco")


def lanes_elsewhere(setup: str) -> str:
    """Kind of the lanes of a vector environment in a fresh process, or the error."""
    code = f"""
import sys
{setup}
from clwm_data import ClwmError, get_family
try:
    print(type(get_family("hopper-mass").make_vec_env([0, 1])._simulator._lanes).__name__)
except ClwmError as error:
    print("ClwmError", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()
