"""``python base_check.py STORE``: what the base install promises everywhere, on a store that lies there."""

import subprocess
import sys

import numpy as np

import clwm_data
from clwm_data.store.validate import validate

path = sys.argv[1]
for heavy in ("torch", "mujoco", "fcntl" if sys.platform == "win32" else "torch"):
    assert heavy not in sys.modules, heavy
store = clwm_data.open_store(path)
print(store.name, store.family, len(store.tasks), "tasks")
assert validate(path) == []
for task in store.tasks.values():
    assert np.isfinite(task.load().reward).all()
for arguments in (["--version"], ["info", path], ["validate", path], ["families"], ["pull", "--help"]):
    subprocess.run([sys.executable, "-m", "clwm_cli", *arguments], check=True, stdout=subprocess.DEVNULL)
print("the base install works")
