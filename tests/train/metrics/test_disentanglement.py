"""Codes of which the definitions say what the scores are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import entropy

from clwm_data.errors import ClwmError
from clwm_train.metrics import disentanglement as module
from clwm_train.metrics.disentanglement import DCI, InfoMEC, dci, infomec, r_squared

pytest.importorskip("sklearn")

Floats = NDArray[np.float64]
RNG = np.random.default_rng(0)
#: Two factors on a 6 x 5 grid, as in the length-speed families, 20 rows of each.
FACTORS = np.tile([[a, b] for a in range(6) for b in range(5)], (20, 1)).astype(np.float64)
UNIT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
ROTATION = np.array(
    [[math.cos(math.pi / 4), -math.sin(math.pi / 4)], [math.sin(math.pi / 4), math.cos(math.pi / 4)]]
)


def both(codes: Floats) -> tuple[DCI, InfoMEC]:
    """Scores of codes that belong to FACTORS, every second row of the grid held out."""
    noisy = codes + 0.01 * RNG.normal(size=codes.shape)
    half = np.arange(len(codes)) < len(codes) // 2
    parts = (noisy[half], FACTORS[half], noisy[~half], FACTORS[~half])
    return dci(*parts), infomec(*parts)


def test_perfect_codes() -> None:
    """Each entry one factor, each factor one entry: everything is 1."""
    of_dci, of_info = both(UNIT)
    assert of_dci.disentanglement > 0.98
    assert of_dci.completeness > 0.98
    assert of_dci.informativeness > 0.99
    assert of_info.modularity > 0.95
    assert of_info.compactness is not None
    assert of_info.compactness > 0.95
    assert of_info.explicitness > 0.9
    np.testing.assert_allclose(np.diag(of_info.information), 1.0, atol=0.1)


def test_order_and_sign_of_entries_do_not_matter() -> None:
    of_dci, of_info = both(-UNIT[:, ::-1])
    assert of_dci.disentanglement > 0.98
    assert of_info.modularity > 0.95
    np.testing.assert_allclose(of_dci.importance, [[0, 1], [1, 0]], atol=0.01)


def test_rotated_codes_are_informative_but_mixed() -> None:
    perfect, _ = both(UNIT)
    of_dci, of_info = both(UNIT @ ROTATION)
    assert of_dci.informativeness > 0.9
    assert of_dci.disentanglement < 0.15
    assert of_dci.completeness < 0.15
    assert of_info.modularity < 0.2
    assert of_info.explicitness > 0.9  # a linear classifier undoes a rotation
    assert of_dci.disentanglement < perfect.disentanglement


def test_useless_codes() -> None:
    of_dci, of_info = both(RNG.normal(size=UNIT.shape))
    assert of_dci.informativeness < 0.0
    assert of_dci.disentanglement < 0.1
    assert abs(of_info.explicitness) < 0.05
    assert of_info.information.max() < 0.1


def test_several_entries_for_one_factor_are_disentangled_but_not_complete() -> None:
    """The two notions are the two axes of the importance matrix: here they must come apart."""
    copies = np.concatenate([UNIT[:, :1] + 0.1 * RNG.normal(size=(len(UNIT), 3)), UNIT[:, 1:]], 1)
    of_dci, of_info = both(copies)
    assert of_dci.disentanglement > 0.9
    assert of_dci.completeness < 0.85
    assert of_info.modularity > 0.9
    assert of_info.compactness is not None
    assert of_info.compactness < 0.75


def test_one_entry_for_two_factors_is_complete_but_not_disentangled() -> None:
    codes = np.stack([5 * FACTORS[:, 0] + FACTORS[:, 1], RNG.normal(size=len(FACTORS))], 1)
    of_dci, _ = both(codes)
    assert of_dci.completeness > 0.8
    assert of_dci.disentanglement < 0.2


def test_dead_entries_do_not_count() -> None:
    dead = np.concatenate([UNIT, np.zeros((len(UNIT), 1))], 1)
    of_dci, of_info = both(dead)
    assert of_info.active.tolist() == [True, True, False]
    assert of_info.modularity > 0.95
    assert of_info.compactness is not None
    assert of_info.compactness > 0.95
    assert of_dci.completeness > 0.98


def test_one_active_entry_has_no_compactness() -> None:
    codes = np.stack([UNIT[:, 0], np.zeros(len(UNIT))], 1)
    _, of_info = both(codes)
    assert of_info.compactness is None


def test_concentration_against_scipy() -> None:
    importance = RNG.random((4, 3))
    expected = [1.0 - entropy(row, base=3) for row in importance]
    np.testing.assert_allclose(module._concentration(importance), expected)
    np.testing.assert_allclose(module._concentration(np.array([[0.0, 0.0], [0.0, 2.0]])), [0.0, 1.0])


def test_peakedness_by_hand() -> None:
    # Largest shares 3/4 and 1/2, of two: (0.625 - 0.5) / 0.5.
    assert module._peakedness(np.array([[3.0, 1.0], [2.0, 2.0]])) == pytest.approx(0.25)


def test_explicitness_is_scored_on_held_out_data() -> None:
    """With more entries than rows anything can be fitted; held-out rows tell."""
    x, label = RNG.normal(size=(30, 60)), RNG.integers(2, size=30)
    assert module._explained(x, label, x, label) > 0.9
    assert module._explained(x, label, RNG.normal(size=(200, 60)), RNG.integers(2, size=200)) < 0.0


def test_r_squared() -> None:
    assert r_squared([1.0, 2.0, 4.0], [1.0, 2.0, 3.0]) == pytest.approx(0.5)
    assert r_squared([2.0, 2.0, 2.0], [1.0, 2.0, 3.0]) == 0.0


def test_mistakes() -> None:
    half = FACTORS[:100]
    for parts, message in (
        ((half, half[:50], half, half), "do not fit"),
        ((half[:, :1], half, half[:, :1], half), "needs two of each"),
        ((half, half * np.array([1, 0]), half, half), "factor 1 is the same everywhere"),
        ((half, half, np.hstack([half, half]), half), "do not fit the held-out"),
        ((half, half, half, np.hstack([half, half])), "do not fit the held-out"),
        ((half, half, half[:0], half[:0]), "there are no codes"),
        ((np.where(half == half[0], np.nan, half), half, half, half), "NaN or infinite"),
        ((half, half, half, np.where(half == half[0], np.inf, half)), "NaN or infinite"),
    ):
        for metric in (dci, infomec):
            with pytest.raises(ClwmError, match=message):
                metric(*parts)
    with pytest.raises(ClwmError, match="factor 0 has the held-out value 9"):
        infomec(half, half, half, half + np.array([9, 0]))


def test_codes_that_are_the_same_everywhere_hold_no_information() -> None:
    codes = np.ones((len(FACTORS), 3))
    parts = (codes, FACTORS, codes, FACTORS)
    of_info = infomec(*parts)
    assert not of_info.active.any()
    assert not of_info.information.any()
    assert of_info.modularity == 0.0
    assert of_info.compactness is None
    assert of_info.explicitness == pytest.approx(0.0, abs=1e-6)
    assert dci(*parts).disentanglement == 0.0
