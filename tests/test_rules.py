"""Rules of the house that reading the code can check: who may import whom."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = {"clwm_data": ROOT / "clwm_data", "clwm_train": ROOT / "clwm_train", "clwm_cli": ROOT / "cli"}


def modules() -> dict[str, Path]:
    """Dotted name -> file."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Modules of the project that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES or node.module in MODULES:
                    yield name if name in MODULES else node.module


IMPORTS = {module: set(imports(module)) for module in MODULES}


def chapter(module: str) -> str:
    """The folder, or the single file, directly below a package."""
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("clwm_data", "clwm_train"),
        ("clwm_data", "clwm_cli"),
        ("clwm_train", "clwm_cli"),
        ("clwm_data.store", "clwm_data.hub"),
        ("clwm_data.store", "clwm_data.opening"),
        ("clwm_data.families", "clwm_data.store"),
        ("clwm_data.pages", "clwm_data.store"),
        ("clwm_train.config", "clwm_train.model"),
        ("clwm_train.kernels", "clwm_train.model"),
        ("clwm_train.model", "clwm_train.training"),
        ("clwm_train.objectives", "clwm_train.training"),
        ("clwm_train.training", "clwm_train.evaluation"),
        ("clwm_train.evaluation", "clwm_train.report"),
    ],
)
def test_the_lower_does_not_import_the_upper(lower: str, upper: str) -> None:
    def below(module: str, folder: str) -> bool:
        return module == folder or module.startswith(f"{folder}.")

    wrong = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        if below(module, lower)
        for name in names
        if below(name, upper)
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["clwm_data", "clwm_train"])
def test_chapters_do_not_import_each_other_in_circles(package: str) -> None:
    arrows: dict[str, set[str]] = defaultdict(set)
    for module, names in IMPORTS.items():
        if module.startswith(f"{package}."):
            arrows[chapter(module)] |= {chapter(name) for name in names if name.startswith(f"{package}.")}
    below = {name: others - {name} for name, others in arrows.items()}
    # Take away whatever stands on nothing; a circle is what can never be taken away.
    while standing := [name for name, others in below.items() if not others & below.keys()]:
        for name in standing:
            del below[name]
    assert not {name: sorted(others & below.keys()) for name, others in below.items()}
