"""Runs the tutorials as they stand, and shows in them what came out.

``python -m docs.generate.tutorials [NAME...]`` runs the blocks of each tutorial in one shell session, as a
reader types them. A block of ``text`` directly behind a block of code is replaced by what that code prints,
and a picture of a tutorial by the file of that name that the session made.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TUTORIALS = Path(__file__).parents[1] / "tutorials"
PICTURES = Path(__file__).parents[1] / "images/tutorials"

BLOCK = re.compile(
    r"^```(?P<language>sh|python)\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.M | re.S
)
PICTURE = re.compile(r"!\[[^]]*\]\(\.\./images/tutorials/([^)]+)\)")
#: Printed between the outputs of two blocks.
SEPARATOR = "\x1e"
#: Port of the web servers of the pages; another one stands in for it, since this one may be taken.
PORT = "8765"


@dataclass(frozen=True)
class Block:
    """A block of code, with the output that the page shows behind it (None: it shows none)."""

    language: str
    code: str
    shown: str | None


def blocks(page: str) -> list[Block]:
    """The blocks of code of a page, in order."""
    return [Block(match["language"], match["code"], match["shown"]) for match in BLOCK.finditer(page)]


def pictures(page: str) -> list[str]:
    """The names of the pictures that a page shows."""
    return PICTURE.findall(page)


def session(found: list[Block]) -> str:
    """One shell script of all blocks; Python blocks that follow each other are one program."""
    lines = ["set -eu", "trap 'jobs -p | xargs -r kill || true' EXIT"]
    for number, block in enumerate(found):
        separator = "printf '\\x1e'\n" if number else ""
        if block.language == "sh":
            lines.append(separator + block.code)
            continue
        if number and found[number - 1].language == "python":
            lines[-1] += f"print({SEPARATOR!r}, end='', flush=True)\n" + block.code
        else:
            lines.append(f"{separator}python - <<'END_OF_PYTHON'\n{block.code}")
        if number + 1 == len(found) or found[number + 1].language == "sh":
            lines[-1] += "END_OF_PYTHON\n"
    return "\n".join(lines)


def run(page: str, folder: Path) -> list[str]:
    """Run the blocks of a page in a folder.

    Returns:
        What each block printed to standard output; the folder is called ``/home/ada`` there, and ports are
        those of the page.

    Raises:
        RuntimeError: a command failed.
    """
    own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    done = subprocess.run(
        ["bash", "-c", session(blocks(page)).replace(PORT, port)],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    output = done.stdout.replace(str(folder), "/home/ada").replace(f":{port}", f":{PORT}")
    return output.split(SEPARATOR)


def with_outputs(page: str, outputs: list[str]) -> str:
    """The page with the outputs in the place of those that it shows."""
    remaining = iter(outputs)

    def replace(match: re.Match[str]) -> str:
        output = next(remaining)
        if match["shown"] is None:
            return match[0]
        return f"```{match['language']}\n{match['code']}```\n\n```text\n{output.strip(chr(10))}\n```\n"

    return BLOCK.sub(replace, page)


def generate(path: Path) -> None:
    """Run a tutorial, and write its outputs and pictures."""
    page = path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        path.write_text(with_outputs(page, run(page, Path(folder))), encoding="utf-8")
        PICTURES.mkdir(parents=True, exist_ok=True)
        for name in pictures(page):
            made = sorted(Path(folder).rglob(name))
            if not made:
                raise FileNotFoundError(f"{path}: shows {name}, which its commands do not make")
            shutil.copyfile(made[0], PICTURES / name)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or sorted(path.stem for path in TUTORIALS.glob("*.md")):
        generate(TUTORIALS / f"{chosen}.md")
