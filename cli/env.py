"""``clwm env``: what to paste into a bug report."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from .common import echo_json
from .options import json_option

#: Packages whose versions decide what clwm does, by extra.
PACKAGES = {
    "base": ("clwm", "numpy", "zarr", "numcodecs", "zarrs", "pydantic", "huggingface-hub", "hf-xet", "click"),
    "sim": ("gymnasium", "mujoco", "dm-control", "metaworld", "mjbatch"),
    "train": ("torch", "safetensors", "tensorboard", "matplotlib", "scikit-learn"),
    "other": (
        *("stable-baselines3", "sb3-contrib", "minari", "ray", "av", "pillow", "pyarrow"),
        *("wandb", "trackio"),
    ),
}
#: Variables that change what clwm or its libraries do. Values of tokens are never shown.
VARIABLES = (
    *("CLWM_CACHE", "XDG_CACHE_HOME", "HF_HOME", "HF_HUB_OFFLINE", "MUJOCO_GL", "OMP_NUM_THREADS"),
    *("WANDB_MODE", "WANDB_PROJECT", "TRACKIO_DIR", "TRACKIO_SPACE_ID"),
)


@click.command()
@json_option
def env(as_json: bool) -> None:
    """Show versions, machine, renderer, GPU and cache folders: what to paste into a bug report.

    \b
    Examples:
      clwm env
      clwm env --json
    """
    report = environment()
    if as_json:
        echo_json(report)
        return
    for title, entries in report.items():
        click.echo(f"{title}:")
        width = max(len(name) for name in entries)
        for name, value in entries.items():
            click.echo(f"  {name.ljust(width)}  {'-' if value is None else value}")


def environment() -> dict[str, dict[str, Any]]:
    """Section -> name -> value; ``None`` for what is not installed or not set."""
    packages = {name: _version(name) for names in PACKAGES.values() for name in names}
    return {
        "machine": {
            "platform": platform.platform(),
            "python": f"{platform.python_version()} ({sys.implementation.name})",
            "processors": os.cpu_count(),
            "gpu": _gpu() if packages["torch"] else None,
            "renderer": _renderer() if packages["mujoco"] else None,
        },
        "packages": packages,
        "folders": {"cache": _cache(), "data": "data", "runs": "runs"},
        "variables": {name: os.environ.get(name) for name in VARIABLES},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch cannot be imported: {' '.join(str(error).split())}"
    if not torch.cuda.is_available():
        return f"none (torch built for {f'CUDA {torch.version.cuda}' if torch.version.cuda else 'CPU'})"
    return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))


def _renderer() -> str:
    from clwm_data.errors import ClwmError
    from clwm_data.families.simulation.rendering import opengl_backend

    try:
        return opengl_backend()
    except ClwmError as error:
        return str(error)


def _cache() -> str:
    from clwm_data.cache import cache_root
    from clwm_data.errors import ClwmError

    try:
        return str(cache_root())
    except ClwmError as error:
        return str(error)
