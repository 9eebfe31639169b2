"""Names of Meta-World's benchmarks."""

from __future__ import annotations

#: Names of the ML1 benchmarks without their version, as in metaworld 3.0: static, so that the families can be
#: listed where metaworld is not installed.
TASK_NAMES = (
    *("assembly", "basketball", "bin-picking", "box-close"),
    *("button-press-topdown", "button-press-topdown-wall", "button-press", "button-press-wall"),
    *("coffee-button", "coffee-pull", "coffee-push", "dial-turn", "disassemble"),
    *("door-close", "door-lock", "door-open", "door-unlock", "hand-insert", "drawer-close", "drawer-open"),
    *("faucet-open", "faucet-close", "hammer"),
    *("handle-press-side", "handle-press", "handle-pull-side", "handle-pull", "lever-pull"),
    *("pick-place-wall", "pick-out-of-hole", "pick-place"),
    *("plate-slide", "plate-slide-side", "plate-slide-back", "plate-slide-back-side"),
    *("peg-insert-side", "peg-unplug-side", "soccer", "stick-push", "stick-pull"),
    *("push", "push-wall", "push-back", "reach", "reach-wall", "shelf-place", "sweep-into", "sweep"),
    *("window-open", "window-close"),
)

#: The published benchmarks of ML10 and ML45 (Yu et al. 2019) to train on and to test on, as metaworld 3.0
#: lists them; ML45 trains on all that it does not test on.
ML10_TRAIN = (
    *("reach", "push", "pick-place", "door-open", "drawer-close", "button-press-topdown"),
    *("peg-insert-side", "window-open", "sweep", "basketball"),
)
ML10_TEST = ("drawer-open", "door-close", "shelf-place", "sweep-into", "lever-pull")
ML45_TEST = ("bin-picking", "box-close", "hand-insert", "door-lock", "door-unlock")
ML45_TRAIN = tuple(name for name in TASK_NAMES if name not in ML45_TEST)
