"""How those who read a card install clwm."""

from __future__ import annotations

from importlib.metadata import metadata

#: Whether the package index has clwm under this name. The release workflow refuses a release that says no.
RELEASED = False


def install_line(extra: str = "") -> str:
    """A command that installs clwm today, with an extra.

    Until it is released that is from its repository: from the address that the package's metadata names
    (``Project-URL: Repository, ...``), else from a checkout.
    """
    name = f"clwm[{extra}]" if extra else "clwm"
    if RELEASED:
        return f"pip install '{name}'"
    addresses = dict(text.split(", ", 1) for text in metadata("clwm").get_all("Project-URL") or ())
    if repository := addresses.get("Repository"):
        return f"pip install '{name} @ git+{repository}'"
    return f"in a checkout of clwm's repository: pip install -e '.[{extra}]'".replace("'.[]'", ".")
