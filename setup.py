"""The packages of the wheel, found in the tree; everything else is declared in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["clwm_data", "clwm_data.*", "clwm_train", "clwm_train.*"]),
        # Folders whose names would be too general for a module: see package-dir in pyproject.toml.
        "clwm_data.manifests",
        "clwm_cli",
        # Folders of data alone, which are packages all the same where their names are importable.
        "clwm_train.methods.parts",
        "clwm_train.methods.presets",
    ]
)
