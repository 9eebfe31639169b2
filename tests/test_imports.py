"""Who may import whom, seen from fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def imported_by(code: str) -> set[str]:
    """Top-level modules that a fresh process has after running some code."""
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "mujoco", "dm_control", "metaworld", "matplotlib", "tensorboard"}


@pytest.mark.parametrize(
    "code",
    [
        "import clwm_data",
        "import clwm_data.store, clwm_data.store.validate, clwm_data.manifest",
        "import clwm_cli.main",
        "import clwm_data; [clwm_data.get_family(name).tasks for name in clwm_data.family_names()]",
    ],
)
def test_reading_and_listing_load_neither_torch_nor_a_simulator(code: str) -> None:
    assert not imported_by(code) & HEAVY


@pytest.mark.parametrize(
    "order", ["import clwm_data; import gymnasium", "import gymnasium; import clwm_data"]
)
def test_environments_are_registered_in_either_order_of_imports(order: str) -> None:
    imported_by(f"{order}; gymnasium.make('clwm/point-robot-v0', task=3)")


def test_importing_the_package_imports_neither_gymnasium_nor_zarr() -> None:
    assert not imported_by("import clwm_data.opening, clwm_cli.info") & {
        "gymnasium",
        "zarr",
        "huggingface_hub",
    }


def test_showing_a_store_imports_what_its_metadata_needs() -> None:
    store = Path(__file__).parent / "data/store/golden-1.zarr"
    shown = imported_by(
        "from contextlib import suppress; from clwm_cli.main import main\n"
        f"with suppress(SystemExit): main(['info', {str(store)!r}])"
    )
    assert "pydantic" in shown
    assert not shown & {"gymnasium", "numcodecs", "yaml", "zarr"}


def test_the_options_of_training_are_shown_without_reading_a_store() -> None:
    shown = imported_by(
        "from contextlib import suppress; from clwm_cli.main import main\n"
        "with suppress(SystemExit): main(['train', '--help'])"
    )
    assert "click" in shown
    assert not shown & {"pydantic", "zarr", "torch"}


def test_the_data_package_does_not_know_the_trainer() -> None:
    assert "clwm_train" not in imported_by("import clwm_data.collection.collector, clwm_data.store.validate")


BLOCK = """
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize(
    ("blocked", "arguments", "extra"),
    [
        (["gymnasium"], ["collect", "point-robot"], "sim"),
        (["mujoco"], ["collect", "cheetah-vel"], "sim"),
        (["metaworld"], ["collect", "mw-reach"], "sim"),
    ],
)
def test_a_missing_extra_is_named(
    blocked: list[str], arguments: list[str], extra: str, tmp_path: object
) -> None:
    code = f"import sys\n{BLOCK.format(names=blocked)}\nfrom clwm_cli.main import main\nmain({arguments})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=str(tmp_path), check=False
    )
    assert done.returncode == 1
    assert f'pip install "clwm[{extra}]"' in done.stderr
    assert done.stderr.count("\n") == 1
