from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_train.report.point_robot_figure import point_robot_figure, principal_plane


def test_principal_plane_of_points_on_a_tilted_plane_keeps_their_distances() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2)) * (3.0, 1.0)
    axes, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    points = flat @ axes[:2] + 7.0
    plane, share = principal_plane(points)
    assert share == pytest.approx(1.0)
    expected = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    np.testing.assert_allclose(np.linalg.norm(plane[:, None] - plane[None], axis=-1), expected)
    assert plane[:, 0].std() > plane[:, 1].std()


def test_share_of_variance_by_hand() -> None:
    points = np.array([[2.0, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    assert principal_plane(points)[1] == pytest.approx(10 / 12)
    assert principal_plane(np.ones((4, 3)))[1] == 1.0


def test_only_a_point_robot_is_drawn(tmp_path: Path) -> None:
    tasks: Any = {0: None}
    with pytest.raises(ClwmError, match="cheetah-vel: its tasks have no goal and angle"):
        point_robot_figure(cast(Any, None), get_family("cheetah-vel"), tasks, tmp_path / "x.svg")
    assert not list(tmp_path.iterdir())
