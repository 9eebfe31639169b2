"""The tutorials run as they stand, and show what they print."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from docs.generate.tutorials import PORT, Block, blocks, pictures, run, session, with_outputs
from tests.conftest import ROOT
from tests.docs.shell_blocks import commands_of_page

TUTORIALS = [*sorted((ROOT / "docs/tutorials").glob("*.md")), ROOT / "docs/own-data.md"]


def outline(text: str) -> str:
    """A text without what differs between machines and times: numbers, digests, and the widths of columns."""
    text = re.sub(r"\b[0-9a-f]{7,}\b|[-+]?\d[\d.,:eT+-]*", "#", text)
    text = re.sub(r"[-\s]+", " ", text)
    return re.sub(r"(?<=\[) | (?=])", "", text).strip()  # NumPy aligns the numbers between brackets


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_runs_and_shows_what_it_prints(path: Path, tmp_path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    outputs = run(page, tmp_path)
    shown = [(block.shown, output) for block, output in zip(blocks(page), outputs, strict=True)]
    assert len(shown) >= 2
    for text, output in shown:
        if text is not None:
            assert outline(text) == outline(output), (
                f"out of date: python -m docs.generate.tutorials {path.stem}"
            )
    for name in pictures(page):
        assert list(tmp_path.rglob(name)), f"{name} is shown, but not made"


def test_pages_typed_in_one_folder_do_not_get_in_each_others_way() -> None:
    makers: dict[str, set[str]] = {}
    for page in (ROOT / "README.md", *TUTORIALS):
        named = re.findall(r'\bout="((?:data|runs)/[^"]+)"', page.read_text(encoding="utf-8"))
        for typed in commands_of_page(page):
            words = typed.words
            if words[:2] in (("clwm", "collect"), ("clwm", "train")) and "--out" in words:
                named.append(words[words.index("--out") + 1])
        for folder in named:
            makers.setdefault(folder, set()).add(page.name)
    assert {"data/goals.zarr", "runs/notebook", "runs/first"} <= set(makers)
    assert not {folder: pages for folder, pages in makers.items() if len(pages) > 1}


def test_blocks_are_one_session_and_python_blocks_in_a_row_one_program(tmp_path: Path) -> None:
    page = """
```sh
export NAME=Ada
```

```sh
echo "$NAME"
```

```text
whatever
```

```python
x = 3
```

```python
print(x)
```

```text
4
```
"""
    assert [block.shown for block in blocks(page)] == [None, "whatever\n", None, "4\n"]
    outputs = run(page, tmp_path)
    assert [output.strip() for output in outputs] == ["", "Ada", "", "3"]
    assert with_outputs(page, outputs) == page.replace("whatever", "Ada").replace("4\n", "3\n")


def test_a_failing_block_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="exit code 1"):
        run("```sh\nfalse\n```\n\n```sh\necho never\n```\n", tmp_path)
    assert "set -eu" in session([Block("sh", "true\n", None)])


def test_a_port_of_a_page_may_be_taken(tmp_path: Path) -> None:
    page = """
```python
import socket
with socket.create_server(("127.0.0.1", 8765)):
    print("http://127.0.0.1:8765/")
```
"""
    with ExitStack() as held:
        with suppress(OSError):  # another process has it
            held.enter_context(socket.create_server(("127.0.0.1", int(PORT))))
        assert run(page, tmp_path) == ["http://127.0.0.1:8765/\n"]


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert set(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == pages
