from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clwm_data import references
from clwm_data.collection.reference_returns import (
    check_scale,
    expert_entry,
    measure_references,
    write_references,
)
from clwm_data.errors import ClwmError
from clwm_data.families import family_names, get_family
from clwm_data.references import FOLDER, normalised_return, read_references, reference_record
from clwm_data.zoo.card import read_card, write_card
from clwm_data.zoo.shipped import shipped_folder
from tests.conftest import Clwm

MEASURED = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NUMBERS = st.floats(-1e4, 1e4)


@given(NUMBERS, st.floats(1e-3, 1e4), st.lists(st.floats(-5, 5), min_size=1))
def test_normalised_returns(random: float, span: float, levels: list[float]) -> None:
    returns = random + span * np.asarray(levels)
    expert = random + span
    np.testing.assert_allclose(normalised_return(returns, random, expert), levels, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("expert", [2.0, 1.9, -50.0, float("nan")])
def test_an_expert_that_is_no_better_than_random_actions_is_no_scale(expert: float) -> None:
    with pytest.raises(ClwmError, match="to define a scale"):
        normalised_return(1.0, 2.0, expert)


def test_measured_again_they_are_the_same(tmp_path: Path) -> None:
    """Also that they are plain mean returns: the scripted point robot's are known from its environment."""
    family = get_family("point-robot")
    shipped = reference_record("point-robot")
    record = measure_references(family, episodes=shipped.episodes, seed=shipped.seed)
    assert record.random == shipped.random
    assert record.expert == shipped.expert
    write_references(tmp_path, record)
    assert read_references(tmp_path / "point-robot.yaml") == record
    env = family.make_env(7)
    observation, _ = env.reset()
    total, over = 0.0, False
    while not over:
        action = family.scripted_policy(7)(observation[None], None)[0]
        observation, reward, _, over, _ = env.step(action.astype(np.float32))
        total += reward
    assert family.reference_returns(7)[1] == pytest.approx(total, abs=2e-3)
    assert family.normalised_return(7, [total])[0] == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("name", MEASURED)
def test_shipped_references(name: str) -> None:
    family = get_family(name)
    record = reference_record(name)
    assert record.family == name
    assert len(record.random) == len(record.expert) == len(family.tasks)
    assert (np.asarray(record.expert) > np.asarray(record.random)).all()
    folder = shipped_folder(family)
    if record.expert_policy == "learned":
        assert folder is not None
        assert record.expert_sha256 == read_card(folder, family).checkpoint(100).sha256


def test_every_family_with_trained_policies_has_references() -> None:
    assert {name for name in family_names() if shipped_folder(get_family(name))} <= set(MEASURED)


def test_what_is_measured_here_is_found_and_what_ships_holds(
    clwm: Clwm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLWM_REFERENCES", str(tmp_path / "mine"))
    # Patched: stands for another installation; families look their references up by themselves.
    monkeypatch.setattr(references, "FOLDER", tmp_path / "shipped")
    family = get_family("point-robot")
    with pytest.raises(ClwmError, match="no reference returns: `clwm behaviour reference point-robot`"):
        family.reference_returns(0)
    done = clwm("behaviour", "reference", "point-robot", "--episodes", "1")
    assert done.returncode == 0, done.stderr
    assert "that ship with clwm are used, not these" in done.stderr
    own = read_references(tmp_path / "mine" / "point-robot.yaml")
    assert family.reference_returns(3) == (own.random[3], own.expert[3])
    shipped = own.model_copy(update={"expert": [0.0] * len(own.expert)})
    write_references(tmp_path / "shipped", shipped)
    assert family.reference_returns(3) == (own.random[3], 0.0)


def test_references_that_are_measured_again_are_seen_in_the_same_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, family = reference_record("point-robot"), get_family("point-robot")
    monkeypatch.setenv("CLWM_REFERENCES", str(tmp_path))
    monkeypatch.setattr(references, "FOLDER", tmp_path / "none")  # an installation without any
    for expert in (-1.0, -2.0, -3.0):
        write_references(tmp_path, record.model_copy(update={"expert": [expert] * len(record.expert)}))
        assert family.reference_returns(3) == (record.random[3], expert)
        assert family.normalised_return(3, expert) == 1.0


def test_an_expert_that_is_none_gives_no_scale() -> None:
    record = reference_record("point-robot")
    check_scale(record)
    worse = [*record.expert]
    worse[3], worse[7] = record.random[3], record.random[7] - 1.0
    with pytest.raises(ClwmError, match="no more reward than random actions on tasks 3,7: there is no scale"):
        check_scale(record.model_copy(update={"expert": worse}))


def test_the_expert_of_another_zoo_is_measured() -> None:
    family = get_family("cheetah-vel")
    folder = shipped_folder(family)
    assert expert_entry(family, 1, str(folder)).zoo == str(folder)
    with pytest.raises(ClwmError, match="about family cheetah-vel, not point-robot"):
        expert_entry(get_family("point-robot"), 1, str(folder))


def test_an_expert_plays_all_tasks(tmp_path: Path) -> None:
    family = get_family("cheetah-vel")
    folder = shipped_folder(family)
    assert folder is not None
    card = read_card(folder, family)
    some = [
        checkpoint.model_copy(
            update={
                "returns_stochastic": checkpoint.returns_stochastic[:38],
                "returns_deterministic": checkpoint.returns_deterministic[:38],
            }
        )
        for checkpoint in card.checkpoints
    ]
    write_card(tmp_path, card.model_copy(update={"tasks": list(range(38)), "checkpoints": some}))
    with pytest.raises(ClwmError, match=r"does not play tasks 38-39: name policies trained on all tasks"):
        expert_entry(family, 1, str(tmp_path))
    with pytest.raises(ClwmError, match=rf"^{tmp_path / 'nothing'}: holds no card.yaml"):
        expert_entry(family, 1, str(tmp_path / "nothing"))


def test_references_of_other_tasks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "mw-disassemble"
    assert name not in MEASURED
    record = reference_record("point-robot")
    short = record.model_copy(update={"family": name, "random": [0.0], "expert": [1.0]})
    monkeypatch.setenv("CLWM_REFERENCES", str(tmp_path))
    write_references(tmp_path, short)
    with pytest.raises(ClwmError, match=f"do not match its .* tasks: measure them again .*reference {name}"):
        get_family(name).reference_returns(0)
