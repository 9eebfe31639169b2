# Run by .ci/wheel where clwm is installed from its wheel; clwm's own commands, as a user types them.
python - <<'PY'
import clwm_data, clwm_train, sys
assert "site-packages" in clwm_data.__file__ and "site-packages" in clwm_train.__file__, clwm_data.__file__
PY
clwm --version
clwm families >families.txt
if [ -z "$1" ]; then  # no simulator, no torch: reading and checking what the run before collected
    clwm info point-robot-tiny >info.txt
    clwm validate point-robot-tiny
    python -c 'import clwm_data; print(clwm_data.open_store("data/point-robot-tiny.zarr"))'
    echo "the wheel works without extras"
    exit
fi
# Every module that the installed extras allow can be imported.
python - <<'PY'
import importlib, pkgutil, sys
import clwm_data, clwm_train, clwm_cli
failed = []
for package in (clwm_data, clwm_train, clwm_cli):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if module.name.endswith("__main__"):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError as error:
            if not any(extra in str(error) for extra in ("ray",)):
                failed.append(f"{module.name}: {error}")
if failed:
    sys.exit("\n".join(failed))
PY
clwm collect point-robot-tiny
clwm validate point-robot-tiny
clwm info point-robot-tiny >info.txt
clwm train point-robot-tiny --preset tiny --steps 30
clwm eval runs/point-robot-tiny-spc-s0 --episodes 1
clwm push point-robot-tiny user/point-robot-tiny --dry-run >push.txt || grep -q "authors" push.txt
echo "the wheel works outside the checkout"
