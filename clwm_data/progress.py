"""How functions that take long report their progress."""

from __future__ import annotations

from collections.abc import Callable

#: Called with (what is done, what there is in all, as far as is known by now): episodes, tasks, parts.
ProgressCallback = Callable[[int, int], object]
