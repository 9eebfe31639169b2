"""Pictures of MuJoCo models without a screen; OpenGL is loaded when the first one is rendered."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clwm_data.errors import ClwmError, UnavailableError
from clwm_data.extras import require

WIDTH, HEIGHT = 320, 240
Picture = NDArray[np.uint8]

#: Number of renderers that are kept; making one costs more than ten pictures, and it holds its model.
_KEPT = 4


@dataclass(frozen=True)
class Camera:
    """A camera that looks at a fixed point, or at a point relative to a body that it follows.

    Attributes:
        target: (x, y, z) in metres; if ``body`` is given, x and y are relative to the body.
        distance: distance from the target, in metres.
        azimuth: degrees; 90 looks along +y, with +x to the right.
        elevation: degrees; negative looks down.
        body: name of the body to follow; its height is not followed, so the picture does not bounce.
    """

    target: tuple[float, float, float]
    distance: float
    azimuth: float = 90.0
    elevation: float = -15.0
    body: str | None = None


@dataclass(frozen=True)
class Marker:
    """A ball drawn into the scene, e.g. a goal that is not part of the model.

    Attributes:
        position: (x, y, z) in metres.
        radius: radius in metres.
        colour: red, green, blue, opacity in [0, 1].
    """

    position: tuple[float, float, float]
    radius: float
    colour: tuple[float, float, float, float] = (0.9, 0.2, 0.15, 0.6)


def render_model(
    model: Any,
    data: Any,
    camera: Camera | str | int = 0,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    markers: Sequence[Marker] = (),
    fast: bool = True,
) -> Picture:
    """A picture of a model in a state; call it from one thread only.

    Renderers are reused for the same model object and size. :func:`release_renderers` frees them.

    Args:
        model: ``mujoco.MjModel``.
        data: ``mujoco.MjData`` with its positions computed (``mj_forward``).
        camera: a :class:`Camera`, or the name or number of one of the model's cameras.
        width: in pixels.
        height: in pixels.
        markers: balls to draw into the scene.
        fast: leave out shadows and reflections, which cost several times the rest.

    Returns:
        [height, width, 3], first row on top.

    Raises:
        ClwmError: no OpenGL backend works, or not the one that ``MUJOCO_GL`` names.
    """
    key = (id(model), width, height, fast)  # the id stays taken: the renderer holds the model
    renderer = _renderers.get(key)
    if renderer is None:
        while len(_renderers) >= _KEPT:
            _renderers.popitem(last=False)[1].close()
        renderer = _renderers[key] = _Renderer(model, width, height, fast)
    _renderers.move_to_end(key)
    return renderer.render(data, camera, markers)


def release_renderers() -> None:
    """Free all renderers, with their contexts and framebuffers."""
    while _renderers:
        _renderers.popitem()[1].close()


class _Renderer:
    """An OpenGL context with a model's textures and meshes, and a framebuffer of fixed size."""

    def __init__(self, model: Any, width: int, height: int, fast: bool) -> None:
        self._mujoco = mujoco = import_mujoco("rendering")
        self.model = model
        # Twice the size, averaged: half the cost of multisampling on a software renderer, where shadows
        # and multisampling together cost ten times the rest.
        self._shape = (2 * height, 2 * width, 3)
        self._gl = _context_class()(2 * width, 2 * height)
        # After the context: backends free their display at exit too, and what was registered last runs first.
        atexit.unregister(release_renderers)
        atexit.register(release_renderers)
        self._gl.make_current()
        # The framebuffer takes its size and multisampling from the model: lend it ours.
        settings, quality = model.vis.global_, model.vis.quality
        own = settings.offwidth, settings.offheight, quality.offsamples
        settings.offwidth, settings.offheight, quality.offsamples = 2 * width, 2 * height, 0
        try:
            self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        finally:
            settings.offwidth, settings.offheight, quality.offsamples = own
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._scene.flags[flag] = not fast
        self._option = mujoco.MjvOption()

    def render(self, data: Any, camera: Camera | str | int, markers: Sequence[Marker]) -> Picture:
        mujoco = self._mujoco
        self._gl.make_current()
        view = self._view(data, camera)
        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(self.model, data, self._option, None, view, everything, self._scene)
        for marker in markers:
            self._add(marker)
        picture = np.empty(self._shape, np.uint8)
        rectangle = mujoco.MjrRect(0, 0, self._shape[1], self._shape[0])
        mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(picture, None, rectangle, self._context)
        wide = picture[::-1].astype(np.uint16)  # OpenGL counts rows from the bottom
        blocks = wide[0::2, 0::2] + wide[0::2, 1::2] + wide[1::2, 0::2] + wide[1::2, 1::2]
        return ((blocks + 2) // 4).astype(np.uint8)

    def _view(self, data: Any, camera: Camera | str | int) -> Any:
        mujoco = self._mujoco
        view = mujoco.MjvCamera()
        if isinstance(camera, Camera):
            target = np.array(camera.target)
            if camera.body is not None:
                target[:2] += data.body(camera.body).xpos[:2]
            view.type = mujoco.mjtCamera.mjCAMERA_FREE
            view.lookat, view.distance = target, camera.distance
            view.azimuth, view.elevation = camera.azimuth, camera.elevation
        else:
            view.type = mujoco.mjtCamera.mjCAMERA_FIXED
            view.fixedcamid = self.model.camera(camera).id
        return view

    def _add(self, marker: Marker) -> None:
        mujoco, scene = self._mujoco, self._scene
        mujoco.mjv_initGeom(
            scene.geoms[scene.ngeom],
            mujoco.mjtGeom.mjGEOM_SPHERE,
            np.full(3, marker.radius),
            np.array(marker.position, np.float64),
            np.eye(3).ravel(),
            np.array(marker.colour, np.float32),
        )
        scene.ngeom += 1

    def close(self) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()


_renderers: OrderedDict[tuple[int, int, int, bool], _Renderer] = OrderedDict()


def import_mujoco(purpose: str) -> Any:
    """Import MuJoCo, which loads the OpenGL backend that ``MUJOCO_GL`` names even if nothing is rendered.

    Args:
        purpose: as :func:`clwm_data.extras.require`.

    Raises:
        MissingExtraError: it is not installed.
        ClwmError: the backend that ``MUJOCO_GL`` names cannot be loaded.
    """
    try:
        return require("mujoco", "sim", purpose)
    except ClwmError:
        raise
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        setting = f"MUJOCO_GL={os.environ.get('MUJOCO_GL', '')}"
        reason = " ".join(str(error).split())
        raise UnavailableError(
            f"MuJoCo cannot be imported with {setting}: {reason}: set it to egl, or not"
        ) from error


def opengl_backend() -> str:
    """The OpenGL backend in use: ``egl``, ``osmesa``, ``glfw`` or ``cgl``.

    Raises:
        ClwmError: no backend works.
    """
    return str(_context_class().__module__).rpartition(".")[2]


@cache
def _context_class() -> Any:
    """The class of OpenGL contexts of the first backend with which a model can be drawn."""
    failures: list[str] = []
    for name in _candidates():
        reason = _failure(name)
        if reason is None:
            return importlib.import_module(f"mujoco.{name}").GLContext
        failures.append(f"{name}: {reason}")
    raise UnavailableError(
        f"no OpenGL backend works ({'; '.join(failures)}): install libegl1 and libgl1, or libosmesa6, or set "
        "MUJOCO_GL to one that does"
    )


def _candidates() -> tuple[str, ...]:
    """Backends in the order in which they are tried; only that of ``MUJOCO_GL``, if it names one."""
    named = os.environ.get("MUJOCO_GL", "").lower().strip()
    if named in ("disable", "disabled", "off", "false", "0"):
        raise UnavailableError(f"rendering is switched off: MUJOCO_GL={named}; unset it to render")
    if named in ("egl", "osmesa", "glfw", "cgl"):
        return (named,)
    return {"linux": ("egl", "osmesa", "glfw"), "darwin": ("cgl", "glfw")}.get(sys.platform, ("glfw",))


def _failure(name: str) -> str | None:
    """Why nothing can be drawn with a backend, or ``None``.

    Tried in another process: once a broken backend is loaded, no other can be.
    """
    import subprocess  # here: a family's tasks are listed without it

    done = subprocess.run(
        [sys.executable, "-c", _TRIAL, name],
        env={**os.environ, "MUJOCO_GL": name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.split("\n")
    return None if done.returncode == 0 else next((line for line in lines[::-1] if line), "it crashes")


_TRIAL = """
import importlib, sys, mujoco
context = importlib.import_module(f"mujoco.{sys.argv[1]}").GLContext(16, 16)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100).free()
context.free()
"""
