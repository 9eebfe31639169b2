"""The line on a card by which its readers install clwm."""

from __future__ import annotations

from email.message import Message

import pytest

from clwm_data.hub import install
from clwm_data.hub.install import install_line


def test_until_a_release_the_line_points_to_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Message()
    named["Project-URL"] = "Documentation, https://example.org/docs"
    monkeypatch.setattr(install, "metadata", lambda name: named)
    assert install_line() == "in a checkout of clwm's repository: pip install -e ."
    assert install_line("train") == "in a checkout of clwm's repository: pip install -e '.[train]'"
    named["Project-URL"] = "Repository, https://example.org/clwm.git"
    assert install_line() == "pip install 'clwm @ git+https://example.org/clwm.git'"
    assert install_line("train") == "pip install 'clwm[train] @ git+https://example.org/clwm.git'"
    monkeypatch.setattr(install, "RELEASED", True)
    assert install_line("train") == "pip install 'clwm[train]'"
