from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.families.simulation import rendering
from clwm_data.families.simulation.rendering import Camera, Marker, release_renderers, render_model

mujoco = pytest.importorskip("mujoco")

SCENE = """
<mujoco>
  <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/></visual>
  <worldbody>
    <body name="agent" pos="0 0 1"><freejoint/><geom size="0.1" rgba="1 0 0 1"/></body>
    <body pos="1 0 0"><geom size="0.1" rgba="0 0 1 1"/></body>
    <camera name="front" pos="0 -5 0" xyaxes="1 0 0 0 0 1"/>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module", autouse=True)
def _works() -> Any:
    try:
        render_model(*scene(), width=8, height=8)
    except ClwmError as error:
        pytest.skip(str(error))
    yield
    release_renderers()


def scene() -> tuple[Any, Any]:
    model = mujoco.MjModel.from_xml_string(SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def centre(picture: NDArray[np.uint8], channel: int) -> tuple[float, float]:
    """Row and column of the middle of what has the pure colour of a channel."""
    others = np.delete(picture, channel, axis=2).max(axis=2)
    rows, columns = np.nonzero((picture[..., channel] > 150) & (others < 50))
    assert len(rows) > 0, "the colour is not in the picture"
    return float(rows.mean()), float(columns.mean())


@pytest.mark.parametrize("camera", ["front", 0, Camera((0.0, 0.0, 0.0), 5.0, azimuth=90.0, elevation=0.0)])
def test_up_is_up_and_right_is_right(camera: Any) -> None:
    picture = render_model(*scene(), camera=camera, width=100, height=80)
    assert picture.shape == (80, 100, 3)
    assert picture.dtype == np.uint8
    red, blue = centre(picture, 0), centre(picture, 2)
    assert red[0] < 30
    assert red[1] == pytest.approx(49.5, abs=1)
    assert blue[0] == pytest.approx(39.5, abs=1)
    assert blue[1] > 60


def test_a_camera_follows_a_body_over_the_ground_but_not_up() -> None:
    model, data = scene()
    camera = Camera((0.0, 0.0, 1.0), 5.0, elevation=0.0, body="agent")
    at_home = centre(render_model(model, data, camera=camera, width=100, height=100), 0)
    assert at_home == pytest.approx((49.5, 49.5), abs=1)
    data.qpos[:3] = 7.0, -2.0, 1.5
    mujoco.mj_forward(model, data)
    away = centre(render_model(model, data, camera=camera, width=100, height=100), 0)
    assert away[1] == pytest.approx(49.5, abs=1)
    assert away[0] < 40


def test_markers_are_drawn_once() -> None:
    model, data = scene()
    green = Marker((0.0, 0.0, -1.0), 0.2, (0.0, 1.0, 0.0, 1.0))
    marked = render_model(model, data, width=100, height=100, markers=[green])
    assert centre(marked, 1)[0] > 60
    plain = render_model(model, data, width=100, height=100)
    assert plain[..., 1].max() < 150


def test_fast_pictures_have_no_shadows() -> None:
    text = """
    <mujoco><worldbody>
      <light directional="true" dir="0 0 -1" pos="0 0 5" castshadow="true"/>
      <geom type="plane" size="5 5 0.1" rgba="1 1 1 1"/><geom size="0.3" pos="0 0 3" rgba="1 1 1 1"/>
      <camera pos="0 -6 3" xyaxes="1 0 0 0 0.5 1"/>
    </worldbody></mujoco>"""
    model = mujoco.MjModel.from_xml_string(text)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    fast = render_model(model, data).astype(int)
    full = render_model(model, data, fast=False).astype(int)
    assert (full < fast - 40).any()
    assert not (full > fast + 40).any()


def test_renderers_are_reused_and_freed_and_the_model_is_left_as_it_was() -> None:
    release_renderers()
    model, data = scene()
    before = model.vis.global_.offwidth, model.vis.global_.offheight, model.vis.quality.offsamples
    first = render_model(model, data, width=2000, height=20)  # wider than the model's own framebuffer
    assert len(rendering._renderers) == 1
    np.testing.assert_array_equal(render_model(model, data, width=2000, height=20), first)
    assert len(rendering._renderers) == 1
    after = model.vis.global_.offwidth, model.vis.global_.offheight, model.vis.quality.offsamples
    assert before == after
    for size in range(10, 20):
        render_model(model, data, width=size, height=size)
    assert len(rendering._renderers) == rendering._KEPT
    release_renderers()
    assert len(rendering._renderers) == 0
    np.testing.assert_array_equal(render_model(model, data, width=2000, height=20), first)


def python(code: str, **environment: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("MUJOCO_GL", "DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_stepping_loads_no_opengl() -> None:
    loaded = python(
        """
import sys
import numpy as np
from clwm_data.families import get_family
env = get_family("mw-reach").make_env(0)
env.reset(seed=0)
env.step(np.zeros(4, np.float32))
print(sorted({name.split(".")[0] for name in sys.modules} & {"OpenGL", "PIL"}))
print([name for name in sys.modules if name in ("mujoco.egl", "mujoco.osmesa", "mujoco.cgl")])
"""
    )
    assert loaded == "[]\n[]"


RENDER = """
from clwm_data.errors import ClwmError
from clwm_data.families.simulation.rendering import import_mujoco, render_model
try:
    mujoco = import_mujoco("a test")
    model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><camera/></worldbody></mujoco>")
    print(render_model(model, mujoco.MjData(model), width=4, height=2).shape)
except ClwmError as error:
    print(error)
"""


def test_a_backend_is_found_where_none_is_named() -> None:
    assert python(RENDER) == "(2, 4, 3)"


@pytest.mark.skipif(sys.platform != "linux", reason="a missing DISPLAY stops glfw on Linux only")
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("off", "rendering is switched off: MUJOCO_GL=off"),
        ("glfw", "no OpenGL backend works (glfw: "),
        ("nonsense", "MuJoCo cannot be imported with MUJOCO_GL=nonsense: "),
    ],
)
def test_a_named_backend_is_respected_and_its_failure_is_one_line(setting: str, message: str) -> None:
    said = python(RENDER, MUJOCO_GL=setting)
    assert said.startswith(message)
    assert "\n" not in said


def test_metaworld_is_drawn_with_the_table_below_and_the_goal_as_a_ball() -> None:
    env = get_family("mw-push").make_env(0, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (240, 320, 3)
    row, _ = centre(picture, 1)  # the goal is green, and lies on the table
    brown = (picture[..., 0] > picture[..., 2] + 25) & (picture[..., 0] < 150)
    assert np.nonzero(brown)[0].mean() > 120
    assert row > 100
    again = env.render()
    np.testing.assert_array_equal(picture, again)
