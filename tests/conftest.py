"""Fixtures that several packages' tests share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest
from clwm_cli.main import main

from clwm_data.collection.collector import collect
from clwm_data.manifest import BehaviourEntry, Manifest
from tests.warm_python import WarmPython

ROOT = Path(__file__).parents[1]
#: What `make test-fast` leaves out: whole commands, kills, compilers, trainings, servers.
SLOW = (
    *("cli", "docs", "data/behaviour_training", "data/hub", "data/recording", "train/hub"),
    *(
        "data/collection/test_crash.py",
        "data/collection/test_collect.py",
        "data/collection/test_own_policy.py",
        "data/collection/test_policies_of_files.py",
    ),
    *("data/edit/test_replacement.py", "data/edit/test_places.py", "data/edit/test_relabel.py"),
    *("data/store/test_verified.py", "data/store/test_replay.py", "data/store/test_torch_dataset.py"),
    *("data/convert/test_convert.py", "data/convert/test_border.py", "data/convert/test_dense_rewards.py"),
    *("data/convert/test_flat.py", "data/store/test_validate.py", "data/edit/test_edit.py"),
    *("train/tracking", "train/acting/test_posterior.py", "train/model/test_tdmpc2.py"),
    "data/zoo/test_image.py",
    *("data/families", "data/preview", "train/evaluation", "train/acting/test_planning.py"),
    *("train/training/test_compiler.py", "train/training/test_fast_path.py", "train/data/test_mapped.py"),
    *(
        "train/training/test_on_a_device.py",
        "train/training/test_divergence.py",
        "train/model/test_backbones.py",
    ),
    *("train/methods/test_methods.py", "train/methods/test_fuzz.py", "train/analysis", "train/runs"),
)
#: Seconds that the files which take longest need on a core, roughly. They are begun first, by all processes,
#: so that none is left alone with one of them at the end.
SLOWEST = {
    "docs/test_tutorials.py": 250,
    "test_bench.py": 170,
    "cli/test_compiled.py": 130,
    "train/training/test_compiler.py": 90,
    "data/behaviour_training/test_training_run.py": 65,
    "data/collection/test_crash.py": 65,
    "data/behaviour_training/test_update.py": 45,
    "cli/test_train_verbs.py": 40,
    "cli/test_sweep.py": 40,
    "train/training/test_fast_path.py": 35,
    "train/model/test_backbones.py": 30,
    "docs/test_results.py": 30,
    "docs/test_pages.py": 25,
    "train/training/test_graph_function.py": 20,
    "cli/test_foreign_data.py": 20,
    "train/training/test_on_a_device.py": 15,
    "train/data/test_mapped.py": 15,
}
Clwm = Callable[..., subprocess.CompletedProcess[str]]
#: (arguments) -> exit code, stdout, stderr
Call = Callable[..., tuple[int, str, str]]
#: A file system in memory, and how many bytes of it have to be free before the tests use it: tests write, and
#: sync, tens of thousands of files, and waiting for a disk takes longer than all that they compute.
MEMORY = Path("/dev/shm")
PLENTY = 8 << 30


def pytest_configure() -> None:
    """Put temporary folders into memory where there is plenty, unless their place is given."""
    if memory_is_plenty():
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One process more than there are cores: a sixth of the time, tests wait for other processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return cores + 1


def memory_is_plenty() -> bool:
    """Whether the file system in memory can take what tests write, and can run programs that they write."""
    if not (sys.platform == "linux" and os.access(MEMORY, os.W_OK)):
        return False
    system = os.statvfs(MEMORY)
    available = next(
        int(line.split()[1]) << 10
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    free = min(system.f_bavail * system.f_frsize, available)
    return free >= PLENTY and not system.f_flag & os.ST_NOEXEC


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the slow tests, and let each process begin with its share of the slowest files."""
    for item in items:
        if name_of(item).startswith(SLOW):
            item.add_marker(pytest.mark.slow)
    items[:] = dealt(items, getattr(config, "workerinput", {}).get("workercount", 1))


def dealt(items: Sequence[pytest.Item], processes: int) -> list[pytest.Item]:
    """The tests in the order of the processes that begin with them: pytest-xdist gives the first process the
    first part of the list, all parts as long; what one of them has not begun, others steal from its end.
    """
    size = -(-len(items) // processes)
    parts: list[list[pytest.Item]] = [[] for _ in range(processes)]
    seconds = [0] * processes
    for name, needed in SLOWEST.items():
        least = seconds.index(min(seconds))
        parts[least] += [item for item in items if name_of(item) == name]
        seconds[least] += needed
    rest = iter([item for item in items if name_of(item) not in SLOWEST])
    for part in parts:
        part += islice(rest, max(0, size - len(part)))
    return [*(item for part in parts for item in part), *rest]


def name_of(item: pytest.Item) -> str:
    """The file of a test, relative to this folder."""
    return item.path.relative_to(ROOT / "tests").as_posix()


def tiny_manifest(
    tasks: Sequence[int] = (0, 6, 12), episodes: int = 3, seed: int = 0, name: str = "tiny"
) -> Manifest:
    """A point-robot dataset that is collected in a blink: one ood, one id and one train task."""
    return Manifest(
        name=name,
        family="point-robot",
        description="A few tasks, a few episodes.",
        tasks=list(tasks),
        behaviours=[
            BehaviourEntry(policy="scripted", noise=0.3, episodes=episodes),
            BehaviourEntry(policy="random", episodes=2),
        ],
        seed=seed,
        licence="CC0-1.0",
        authors=["nobody"],
    )


def tree(folder: Path) -> dict[str, bytes]:
    """The files in a folder, by their path inside it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="session", autouse=True)
def _no_ignored_signals() -> None:
    """What ``nohup`` and a shell's background ignore, commands would ignore, too: they inherit that, and no
    handlers."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def no_users_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches of their own for the tests and the commands that they run, not the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("caches")))
        yield


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collected tiny store; do not change it (see ``store_path``)."""
    path = tmp_path_factory.mktemp("stores") / "tiny.zarr"
    collect(tiny_manifest(), path)
    return path


@pytest.fixture
def store_path(collected: Path, tmp_path: Path) -> Path:
    """A copy of the tiny store that a test may damage."""
    return Path(shutil.copytree(collected, tmp_path / "tiny.zarr"))


@pytest.fixture(scope="session")
def warm_python(_no_ignored_signals: None, no_users_cache: None) -> Iterator[WarmPython]:
    """Processes that start with most packages imported."""
    python = WarmPython()
    yield python
    python.close()


COMMAND = "from clwm_cli.entry import run; run()"


@pytest.fixture
def clwm(tmp_path: Path, warm_python: WarmPython) -> Clwm:
    """Run the command in a fresh folder: ``clwm("info", "x")``; stdout and stderr are captured."""

    def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return warm_python.run(COMMAND, arguments, tmp_path, timeout)

    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command in this process, in a fresh folder: for tests that do not depend on processes."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path | int) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def cold_clwm(tmp_path: Path) -> Clwm:
    """As ``clwm``, in a process that starts with nothing imported."""

    def run(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
