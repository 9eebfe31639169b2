"""Rules that can be checked by reading the code: imports, errors, parameters."""

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
    files = {}
    for package, folder in PACKAGES.items():
        for path in folder.rglob("*.py"):
            parts = (package, *path.relative_to(folder).with_suffix("").parts)
            files[".".join(parts).removesuffix(".__init__")] = path
    return files


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


#: No function takes more parameters than this without a reason written beside it.
MOST_PARAMETERS = 7

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


def is_called(node: ast.expr | None, name: str) -> bool:
    """Whether an expression is ``name``, ``module.name``, or a call of either."""
    if isinstance(node, ast.Call):
        node = node.func
    return (isinstance(node, ast.Name) and node.id == name) or (
        isinstance(node, ast.Attribute) and node.attr == name
    )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_every_error_has_a_class_of_its_own(module: str) -> None:
    """``ClwmError`` is for catching: what is raised is one of its subclasses."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    raised = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and is_called(node.exc, "ClwmError")
    ]
    made = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and is_called(node, "ClwmError")
    ]
    assert not {*raised, *made}, f"{MODULES[module]}: raise one of the classes in clwm_data/errors.py"


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Names of the parameters of a function, but for ``self`` and ``cls``."""
    arguments = function.args
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names += [argument.arg for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [name for name in names if name not in ("self", "cls")]


def has_reason(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> bool:
    """Whether the docstring, or the comment directly above, speaks of the parameters' number."""
    text = ast.get_docstring(function) or ""
    above = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)]) - 1
    while above and lines[above - 1].lstrip().startswith("#"):
        above -= 1
        text += lines[above]
    return "parameters" in text


@pytest.mark.parametrize("module", sorted(MODULES))
def test_many_parameters_have_a_reason(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        is_command = any(is_called(decorator, "command") for decorator in node.decorator_list)
        if len(parameters(node)) > MOST_PARAMETERS and not is_command:
            assert has_reason(node, text.splitlines()), (
                f"{MODULES[module]}:{node.lineno}: {node.name} has {len(parameters(node))} parameters: group "
                "them, or say why in the docstring"
            )


#: Modules that may read files by other means, and beginnings of calls that read something else.
READERS = {"clwm_data.bounded", "clwm_data.memory"}
NO_FILES = ("files(", "entry.", "fsspec.")


def test_files_are_read_through_one_door() -> None:
    """``clwm_data.bounded`` refuses pipes and devices, for which ``open`` and ``Path`` wait."""
    others = []
    for module in sorted(MODULES.keys() - READERS):
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or ast.unparse(node).startswith(NO_FILES):
                continue
            name = ast.unparse(node.func).rpartition(".")[2]
            modes = {part.value for part in node.args if isinstance(part, ast.Constant)}
            if name in ("read_bytes", "read_text") or (name == "open" and modes & {"r", "rb"}):
                others.append(f"{MODULES[module]}:{node.lineno}")
    assert not others, "use clwm_data.bounded"
