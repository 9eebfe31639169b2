"""Fail unless a wheel holds exactly the tracked files of the packages."""

import subprocess
import sys
import zipfile

FOLDERS = {
    "clwm_data/": "clwm_data/",
    "clwm_train/": "clwm_train/",
    "cli/": "clwm_cli/",
    "manifests/": "clwm_data/manifests/",
}

tracked = subprocess.run(
    ["git", "ls-files", *FOLDERS], capture_output=True, text=True, check=True
).stdout.split()
expected = {
    new + path[len(old) :] for path in tracked for old, new in FOLDERS.items() if path.startswith(old)
}
names = {name for name in zipfile.ZipFile(sys.argv[1]).namelist() if ".dist-info/" not in name}
for what, paths in (("lacks", expected - names), ("should not hold", names - expected)):
    if paths:
        sys.exit(f"the wheel {what}: {', '.join(sorted(paths))}")
print(f"the wheel holds the {len(names)} files of the packages")
