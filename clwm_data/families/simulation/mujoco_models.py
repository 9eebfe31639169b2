"""Compiling MuJoCo models that other packages ship, without textures unless pictures are needed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clwm_data.extras import MissingExtraError
from clwm_data.families.simulation.rendering import import_mujoco

#: As in the extra ``sim``.
DM_CONTROL = "dm-control>=1.0.47,<1.0.50"
#: From this Python on labmaze, which dm_control depends on, has no wheels: the extra leaves dm_control out.
NO_LABMAZE = (3, 13)


def package_file(package: str, *parts: str, family: str) -> Path:
    """Path of a file inside an installed package of the extra ``sim``, without importing its modules.

    Importing them could load OpenGL, which stepping does not need.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        spec = find_spec(package)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise MissingExtraError(f"simulating {family} needs the package {package}: {_installed_by(package)}")
    return Path(spec.origin).parent.joinpath(*parts)


def _installed_by(package: str) -> str:
    """The command that installs a package of the extra ``sim``."""
    if package == "dm_control" and sys.version_info >= NO_LABMAZE:  # the extra does not bring it there
        return f'pip install --no-deps "{DM_CONTROL}" (its dependency labmaze has no build for this Python)'
    return 'pip install "clwm[sim]"'


def compile_model(
    path: Path, *, family: str, textures: bool, edit: Callable[[Any], None] | None = None
) -> Any:
    """Compile an MJCF file into an ``MjModel``.

    Two of MuJoCo's options are switched off; neither changes a trajectory. One is the silent reset of a
    simulation that became unstable: its numbers turn non-finite instead. The other is bounding volumes of
    bodies (midphase): with the few geoms of these models they cost more than they save, and mjbatch cannot
    vary them between lanes.

    Args:
        path: the MJCF file.
        family: name for messages.
        textures: keep the textures, which take most of the memory and build time and do not affect the
            physics.
        edit: changes the ``MjSpec`` before it is compiled.

    Raises:
        MissingExtraError: MuJoCo is not installed.
    """
    mujoco = import_mujoco(f"simulating {family}")
    spec = mujoco.MjSpec.from_file(str(path))
    if not textures:
        for texture in spec.textures:
            texture.width = texture.height = 1
    if edit is not None:
        edit(spec)
    model = spec.compile()
    flags = mujoco.mjtDisableBit
    model.opt.disableflags |= int(flags.mjDSBL_AUTORESET | flags.mjDSBL_MIDPHASE)
    return model
