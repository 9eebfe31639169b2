from __future__ import annotations

import shutil
from itertools import pairwise
from math import erf
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from safetensors.numpy import load

from clwm_data.behaviours import make_behaviour
from clwm_data.collection.collector import collect
from clwm_data.collection.plan import Segment
from clwm_data.collection.rollout import roll_out
from clwm_data.errors import ClwmError
from clwm_data.families import get_family
from clwm_data.families.builtin import BUILTIN
from clwm_data.families.conditioning import conditioning_of
from clwm_data.manifest import BehaviourEntry, Manifest, load_manifest
from clwm_data.opening import open_store
from clwm_data.zoo.card import (
    CARD,
    Card,
    CheckpointRecord,
    conditioning_record,
    load_policies,
    read_card,
    sha256,
    tensors_bytes,
    write_card,
)
from clwm_data.zoo.network import Network
from clwm_data.zoo.policy import LearnedPolicy
from clwm_data.zoo.policy_set import MEMBER, PolicySet, pack
from clwm_data.zoo.shipped import find_policies, shipped_folder
from docs.generate.behaviours import document, missed
from docs.generate.single_task import add, compared, record_of, single_task_records
from tests.conftest import ROOT

FAMILY = get_family("point-robot")
INPUTS = FAMILY.observation_size + len(FAMILY.conditioning.names)


def random_tensors(seed: int, sizes: tuple[int, ...], scale: float = 1.0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    tensors = {"input.mean": rng.normal(size=sizes[0]), "input.scale": rng.uniform(0.1, 2.0, sizes[0])}
    for i, (rows, columns) in enumerate(pairwise(sizes)):
        tensors[f"layer.{i}.weight"] = scale * rng.normal(size=(rows, columns)) / np.sqrt(rows)
        tensors[f"layer.{i}.bias"] = rng.normal(size=columns)
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def write_zoo(folder: Path, **changes: object) -> Path:
    """A zoo of three random policies for point-robot."""
    folder.mkdir()
    records = []
    for seed, quality in enumerate((0, 50, 100)):
        content = tensors_bytes(random_tensors(seed, (INPUTS, 32, 2 * FAMILY.action_size)))
        (folder / f"{quality:03d}.safetensors").write_bytes(content)
        records.append(
            CheckpointRecord(
                quality=quality,
                file=f"{quality:03d}.safetensors",
                sha256=sha256(content),
                environment_steps=quality * 10,
                minutes=0.1,
                returns_stochastic=[float(quality)] * 2,
                returns_deterministic=[float(quality)] * 2,
            )
        )
    card = Card(
        family="point-robot",
        method="drawn at random",
        seed=0,
        tasks=[3, 4],
        evaluation_episodes=1,
        observation_size=FAMILY.observation_size,
        action_size=FAMILY.action_size,
        conditioning=conditioning_record(FAMILY),
        packages={},
        checkpoints=records,
    )
    write_card(folder, Card(**{**card.model_dump(), **changes}))
    return folder


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    return write_zoo(tmp_path / "zoo")


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_network_is_the_formula_in_full_precision(seed: int, lanes: int) -> None:
    tensors = random_tensors(seed, (7, 64, 48, 6))
    x = np.random.default_rng(seed).normal(size=(lanes, 7))
    hidden = (x - tensors["input.mean"]) * tensors["input.scale"].astype(np.float64)
    for i in range(3):
        hidden = hidden @ tensors[f"layer.{i}.weight"].astype(np.float64) + tensors[f"layer.{i}.bias"]
        hidden = np.maximum(hidden, 0.0) if i < 2 else hidden
    np.testing.assert_allclose(Network(tensors)(x), hidden, atol=3e-5)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 1000),
    arrays.arrays(np.float32, (33, 7), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from([1.0, 30.0]),
)
def test_products_are_exact_integers(seed: int, x: NDArray[np.float32], scale: float) -> None:
    """The oracle sums Python's integers, in another order; the same bits must come out, saturated or not."""
    network = Network(random_tensors(seed, (7, 16, 4), scale))
    layer = network.hidden[0]
    rounded = np.rint(np.clip((x.astype(np.float64) - network._mean) * network._scale, -(2**26), 2**26))
    weight = layer.weight.astype(int).tolist()
    exact = [
        [sum(int(row[k]) * weight[k][j] for k in reversed(range(7))) for j in range(16)] for row in rounded
    ]
    assert max(abs(value) for row in exact for value in row) < 2**53
    expected = np.asarray(exact, np.float64) * layer.unit + layer.bias
    np.testing.assert_array_equal(layer(rounded), expected)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 100), st.integers(2, 70), st.data())
def test_a_lane_does_not_depend_on_the_others(seed: int, lanes: int, data: st.DataObject) -> None:
    policy = LearnedPolicy(random_tensors(seed, (9, 100, 80, 12), scale=2.0))
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(lanes, 7)).astype(np.float32)
    told = rng.uniform(-1, 1, (lanes, 2)).astype(np.float32)
    noise = rng.normal(size=(lanes, 6))
    together = policy.act(seen, told, noise)
    assert np.abs(together).max() <= 1.0
    some = data.draw(st.lists(st.integers(0, lanes - 1), min_size=1, max_size=lanes))
    np.testing.assert_array_equal(policy.act(seen[some], told[some], noise[some]), together[some])
    np.testing.assert_array_equal(policy.act(seen, told), policy.act(seen, told, np.zeros_like(noise)))


def test_conditioning_spans_minus_one_to_one_and_drops_constants() -> None:
    conditioning = conditioning_of(
        [{"mass": 2.0, "goal": (x, 5.0), "speed": 1.0} for x in (0.0, 1.0, 4.0)]
        + [{"mass": 4.0, "goal": (2.0, 5.0), "speed": 1.0}]
    )
    assert conditioning.names == ("mass", "goal[0]")
    np.testing.assert_allclose(conditioning.vectors, [[-1, -1], [-1, -0.5], [-1, 1], [1, 0]])


@pytest.mark.parametrize("name", [name for name in BUILTIN if not name.startswith(("mw-", "ml"))])
def test_conditioning_tells_all_tasks_apart(name: str) -> None:
    vectors = get_family(name).conditioning.vectors
    assert np.abs(vectors).max() == 1.0
    distance = np.abs(vectors[:, None] - vectors[None]).max(axis=2)
    assert (distance[~np.eye(len(vectors), dtype=bool)] > 0.01).all()


def test_directions_are_continuous_round_the_circle() -> None:
    vectors = get_family("ant-dir").conditioning.vectors
    steps = np.linalg.norm(vectors - np.roll(vectors, 1, axis=0), axis=1)
    assert steps.max() < 0.2


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda zoo: (zoo / CARD).unlink(), "holds no card.yaml"),
        (lambda zoo: (zoo / "050.safetensors").unlink(), "cannot be read"),
        (lambda zoo: (zoo / "050.safetensors").write_bytes(b"x"), "sha-256 differs"),
    ],
)
def test_damage_is_named(zoo: Path, damage: object, words: str) -> None:
    damage(zoo)  # type: ignore[operator]
    with pytest.raises(ClwmError, match=words) as error:
        find_policies(FAMILY, str(zoo), 50, None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "cheetah-vel"}, "is about family cheetah-vel"),
        ({"observation_size": 3}, "another version of point-robot"),
        ({"conditioning": {"names": ["x"], "low": [0.0], "high": [1.0]}}, "another version of point-robot"),
    ],
)
def test_a_card_of_other_tasks_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ClwmError, match=words):
        read_card(write_zoo(tmp_path / "other", **changes), FAMILY)


def test_a_file_that_is_no_policy_is_refused(zoo: Path) -> None:
    tensors = random_tensors(0, (INPUTS, 8, 4))
    for broken, words in (
        ({**tensors, "layer.0.bias": tensors["layer.0.bias"][:3]}, "do not fit"),
        ({**tensors, "more": tensors["layer.0.bias"]}, "expected"),
        ({**tensors, "input.mean": np.full(INPUTS, np.nan, np.float32)}, "not finite"),
        (random_tensors(0, (INPUTS, 8, 3)), "3 outputs"),
        (random_tensors(0, (INPUTS + 1, 8, 4)), "inputs"),
    ):
        content = tensors_bytes(broken)
        (zoo / "050.safetensors").write_bytes(content)
        text = (zoo / CARD).read_text()
        data = yaml.safe_load(text)
        data["checkpoints"][1]["sha256"] = sha256(content)
        (zoo / CARD).write_text(yaml.safe_dump(data))
        card = read_card(zoo, FAMILY)
        with pytest.raises(ClwmError, match=words):
            load_policies(zoo, card, card.checkpoint(50))


def test_several_policies_share_the_tasks() -> None:
    parts = [random_tensors(seed, (INPUTS, 8, 4)) for seed in range(3)]
    member = np.arange(len(FAMILY.tasks)) % 3
    policies = PolicySet(load(tensors_bytes(pack(parts, member))))
    inputs = np.random.default_rng(0).normal(size=(5, INPUTS)).astype(np.float32)
    for task in range(len(FAMILY.tasks)):
        mine = policies.for_task(task).act(inputs[:, :2], inputs[:, 2:])
        halved = {
            name: tensor if "input" in name else tensor.astype(np.float16).astype(np.float32)
            for name, tensor in parts[task % 3].items()
        }
        np.testing.assert_array_equal(mine, LearnedPolicy(halved).act(inputs[:, :2], inputs[:, 2:]))
        full = LearnedPolicy(parts[task % 3]).act(inputs[:, :2], inputs[:, 2:])
        np.testing.assert_allclose(mine, full, atol=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({MEMBER: np.asarray([0, 2], np.uint8)}, "names policies that are missing"),
        ({MEMBER: np.asarray([-1, 0], np.int8)}, "names policies that are missing"),
        ({MEMBER: np.zeros(2, np.float32)}, "vector of integers"),
        ({MEMBER: np.zeros(0, np.uint8)}, "vector of integers"),
        ({"3/input.mean": np.zeros(INPUTS, np.float32)}, "names policies that are missing"),
        ({"1/layer.0.bias": np.zeros(8, np.int32)}, "expected floats"),
    ],
)
def test_sets_of_policies_that_are_none(changes: dict[str, np.ndarray], words: str) -> None:
    packed = pack([random_tensors(seed, (INPUTS, 8, 4)) for seed in (0, 1)], np.zeros(40, np.int64))
    with pytest.raises(ValueError, match=words):
        PolicySet({**packed, **changes})


def learned(zoo: Path, **keys: object) -> Manifest:
    entry = {"policy": "learned", "checkpoint": 100, "zoo": str(zoo), "episodes": 5, **keys}
    return Manifest(name="mine", family="point-robot", tasks=[3, 20], behaviours=[entry])  # type: ignore[list-item]


def test_collection_with_a_policy_pins_it_and_resumes(zoo: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.zarr"
    collect(learned(zoo), path, tasks=[3])
    moved = Path(shutil.move(zoo, tmp_path / "elsewhere"))
    store = collect(learned(moved), path)  # the same policies, wherever they are
    digest = sha256((moved / "100.safetensors").read_bytes())
    assert store.manifest.behaviours[0].sha256 == digest
    assert store.tasks[20].record.behaviours[0].sha256 == digest
    collect(open_store(path).manifest.model_copy(update={"behaviours": learned(moved).behaviours}), path)
    swapped = write_zoo(tmp_path / "swapped")
    data = yaml.safe_load((swapped / CARD).read_text())
    data["checkpoints"][2].update({key: data["checkpoints"][1][key] for key in ("sha256", "file")})
    (swapped / CARD).write_text(yaml.safe_dump(data))
    with pytest.raises(ClwmError, match="different manifest"):
        collect(learned(swapped), path)
    with pytest.raises(ClwmError, match="is not the one that the manifest names"):
        learned(swapped, sha256=digest).resolved()


def test_episodes_follow_the_policy_and_do_not_depend_on_their_segment(zoo: Path) -> None:
    manifest = learned(zoo).resolved()
    policy = find_policies(FAMILY, str(zoo), 100, None).for_task(20)
    conditioning = FAMILY.conditioning.vectors[[20]]
    together = roll_out(manifest, Segment(20, 0, 0, 60))
    alone = roll_out(manifest, Segment(20, 0, 47, 1))[0]
    np.testing.assert_array_equal(together[47].action, alone.action)
    still = roll_out(learned(zoo, deterministic=True).resolved(), Segment(20, 0, 0, 1))[0]
    expected = policy.act(still.observation[:-1], np.repeat(conditioning, len(still.action), axis=0))
    np.testing.assert_array_equal(still.action, expected.astype(np.float32))
    assert not np.array_equal(still.action, together[0].action)


def test_stochastic_actions_have_the_distribution_of_the_policy(zoo: Path) -> None:
    """Kolmogorov's distance between drawn actions and the cdf of tanh(N(mean, std))."""
    behaviour = make_behaviour(FAMILY, 20, learned(zoo).behaviours[0])
    noise = np.concatenate([behaviour.draw(np.random.default_rng(seed)) for seed in range(100)])
    observation = np.tile(np.float32([0.3, 0.2]), (len(noise), 1))
    actions = behaviour.act(observation, None, noise)
    policy = find_policies(FAMILY, str(zoo), 100, None).for_task(20)
    inputs = np.concatenate([observation[:1], FAMILY.conditioning.vectors[[20]]], axis=1)
    mean, log_std = np.split(policy._network(inputs.astype(np.float64))[0], 2)
    for a in range(FAMILY.action_size):
        with np.errstate(divide="ignore"):
            z = (np.arctanh(np.sort(actions[:, a])) - mean[a]) / np.exp(log_std[a])
        cdf = np.asarray([0.5 * (1 + erf(value / np.sqrt(2))) for value in z])
        assert np.abs(cdf - np.arange(len(z)) / len(z)).max() < 0.04


GOOD = """\
name: mine
family: point-robot
behaviours:
  - policy: learned
    zoo: {zoo}
    checkpoint: 100
    episodes: 3
tasks: 3-4
"""


@pytest.mark.parametrize(
    ("edit", "line", "words"),
    [
        (("checkpoint: 100", "checkpoint: 75"), 6, ["has no checkpoint 75", "0, 50, 100"]),
        (("checkpoint: 100", "checkpoint: 101"), 6, ["less than or equal to 100"]),
        (("    checkpoint: 100\n", ""), 4, ["needs the key checkpoint"]),
        (("zoo: {zoo}", "zoo: /nowhere"), 6, ["/nowhere", "clwm behaviour train point-robot"]),
        (("    zoo: {zoo}\n", ""), 5, ["no trained policies", "clwm behaviour train point-robot"]),
        (("episodes: 3", "noise: 0.1\n    episodes: 3"), 7, ["deterministic: true"]),
        (("episodes: 3", "episodes: 3\n    transitions: 7"), 4, ["either episodes or transitions"]),
        (("    episodes: 3\n", ""), 4, ["either episodes or transitions"]),
        (("episodes: 3", "transitions: 0"), 7, ["greater than or equal to 1"]),
        (("policy: learned", "policy: scripted"), 6, ["checkpoint", "leave it out"]),
        (("episodes: 3", "episodes: 3\n    sha256: " + "ab" * 32), 6, ["is not the one"]),
    ],
)
def test_mistakes_in_manifests_name_line_and_key(
    zoo: Path, tmp_path: Path, edit: tuple[str, str], line: int, words: list[str]
) -> None:
    assert edit[0] in GOOD
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD.format(zoo=zoo))
    assert load_manifest(str(path)).behaviours[0].checkpoint == 100
    path.write_text(GOOD.replace(*edit).format(zoo=zoo))
    with pytest.raises(ClwmError) as error:
        load_manifest(str(path))
    message = str(error.value)
    assert message.startswith(f"{path}:{line}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", [n for n in BUILTIN if shipped_folder(get_family(n))])
def test_shipped_policies_load_and_are_small(name: str) -> None:
    folder = shipped_folder(get_family(name))
    assert folder is not None
    card = read_card(folder, get_family(name))
    assert {50, 100} <= {checkpoint.quality for checkpoint in card.checkpoints}
    for checkpoint in card.checkpoints:
        load_policies(folder, card, checkpoint)
    assert BehaviourEntry(policy="learned", checkpoint=100, episodes=1).mistake(get_family(name), [0]) is None


def test_the_shipped_policies_together_are_small() -> None:
    folders = set(filter(None, (shipped_folder(get_family(name)) for name in BUILTIN)))
    assert 0 < sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < 20_000_000


def test_the_committed_document_is_up_to_date() -> None:
    committed = ROOT / "docs" / "behaviours.md"
    assert committed.read_text(encoding="utf-8") == "\n".join(document()) + "\n"


def test_what_a_stage_misses_worked_by_hand(zoo: Path) -> None:
    card = read_card(zoo, FAMILY)
    returns = [-10.0, 100.0], [20.0, 180.0], [30.0, 300.0]  # the second is 75 % and 40 % of the way
    low, stage, best = (
        checkpoint.model_copy(update={"returns_stochastic": reached})
        for checkpoint, reached in zip(card.checkpoints, returns, strict=True)
    )
    card = card.model_copy(update={"checkpoints": [low, stage, best]})
    assert missed(card, stage) == pytest.approx((0.25 + 0.1) / 2)
    assert missed(card, low) == missed(card, best) == 0.0


def test_a_single_task_run_is_recorded_and_compared(tmp_path: Path) -> None:
    family = get_family("cheetah-vel")
    folder = shipped_folder(family)
    assert folder is not None
    shipped = read_card(folder, family)
    best = shipped.checkpoints[-1]
    random, _ = family.reference_returns(7)
    twice = 2.0 * (best.returns_deterministic[7] - random) + random  # twice as far from random actions
    alone = best.model_copy(update={"returns_deterministic": [twice], "returns_stochastic": [twice]})
    for steps in (50, 100):
        alone = alone.model_copy(update={"environment_steps": steps})
        write_card(tmp_path, shipped.model_copy(update={"tasks": [7], "checkpoints": [alone]}))
        add([tmp_path], tmp_path / "records.yaml")
    (record,) = single_task_records(tmp_path / "records.yaml")
    assert (record.family, record.task, record.environment_steps) == ("cheetah-vel", 7, 100)
    ours, ratio = compared(record)
    assert ours == best.returns_deterministic[7]
    assert ratio == pytest.approx(0.5)
    with pytest.raises(ClwmError, match="one task each"):
        record_of(shipped)
