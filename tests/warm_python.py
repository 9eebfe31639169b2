"""Processes that need not import NumPy, Zarr and torch anew, which takes longer than most commands do.

A process that has imported them, and nothing of clwm, forks one for each order. The forked one is otherwise
as fresh as any: its own arguments, folder, environment and standard streams, and the interpreter's own end.
Orders are JSON lines on stdin. Each is answered by two lines on stdout: the process's number, and its exit
code.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

#: What takes long to import. Not what depends on the environment then: Gymnasium, MuJoCo, the Hub's client.
IMPORTED = (
    *("numpy", "zarr", "pydantic", "yaml", "click", "tqdm", "filelock", "safetensors"),
    *("torch", "torch._dynamo", "torch.utils.tensorboard"),  # torch itself imports dynamo for its optimisers
)
#: Beginnings of names of variables that Python, or what is imported, reads as it starts.
READ_AT_START = ("PYTHON", "OMP_", "MKL_", "LC_", "LANG", "LD_", "CXX", "TORCH")


def serve() -> None:
    """Fork until stdin ends."""
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # or collections would copy what the processes share
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(carry_out(order))
        os.write(1, f"{child}\n".encode())
        _, status = os.waitpid(child, 0)
        os.write(1, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def carry_out(order: dict[str, Any]) -> int:
    """Run an order's code as ``python -c`` does, and end as Python does, but without freeing all memory.

    Returns:
        The exit code.
    """
    for descriptor, path in enumerate((os.devnull, order["stdout"], order["stderr"])):
        opened = os.open(path, os.O_WRONLY if descriptor else os.O_RDONLY)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["-c", *order["arguments"]]
    exit_code = 0
    try:
        exec(order["code"], {"__name__": "__main__"})
    except SystemExit as stopped:
        if isinstance(stopped.code, str):
            sys.stderr.write(f"{stopped.code}\n")
        exit_code = stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except BaseException:
        traceback.print_exc()
        exit_code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return exit_code


class WarmPython:
    """Runs code in forked processes. Where nothing can be forked, and where a variable that is read at the
    start is not as it was, it starts Python anew.
    """

    def __init__(self) -> None:
        self._environment = os.environ.copy()
        self._server: subprocess.Popen[bytes] | None = None
        if hasattr(os, "fork") and sys.platform == "linux":
            self._server = subprocess.Popen(
                [sys.executable, "-c", Path(__file__).read_text(encoding="utf-8")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )

    def run(
        self, code: str, arguments: Sequence[str | Path], folder: Path, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run ``python -c code ARGUMENTS`` in a folder, and capture what it prints."""
        command = [sys.executable, "-c", code, *map(str, arguments)]
        if self._server is None or self._read_at_start(os.environ) != self._read_at_start(self._environment):
            return subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
            )
        with tempfile.NamedTemporaryFile() as stdout, tempfile.NamedTemporaryFile() as stderr:
            order = {
                "code": code,
                "arguments": command[3:],
                "folder": str(folder),
                "environment": dict(os.environ),
                "stdout": stdout.name,
                "stderr": stderr.name,
            }
            assert self._server.stdin is not None
            self._server.stdin.write(json.dumps(order).encode() + b"\n")
            child = int(self._answer())
            in_time = bool(select([self._server.stdout], [], [], timeout)[0])
            if not in_time:
                os.kill(child, 9)
            exit_code = int(self._answer())
            out, err = (Path(file.name).read_text(encoding="utf-8") for file in (stdout, stderr))
        if not in_time:
            raise subprocess.TimeoutExpired(command, timeout, out, err)
        return subprocess.CompletedProcess(command, exit_code, out, err)

    def _answer(self) -> bytes:
        assert self._server is not None
        assert self._server.stdout is not None
        return self._server.stdout.readline()

    @staticmethod
    def _read_at_start(environment: Any) -> dict[str, str]:
        return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}

    def close(self) -> None:
        """End the process that forks."""
        if self._server is not None:
            self._server.communicate()


if __name__ == "__main__":
    serve()
