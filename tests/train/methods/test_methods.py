"""Every listed method: it is what its name says, trains, and resumes to the bit."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_data.store import Store
from clwm_train.methods.listing import list_methods
from clwm_train.methods.method_file import names
from clwm_train.methods.resolve import resolve
from clwm_train.runs.loading import load_agent
from clwm_train.runs.metrics_log import read_metrics
from clwm_train.runs.run import describe_run, open_run, write_run
from clwm_train.training.train import train_run
from tests.train.helpers import small_config
from tests.train.training.test_trainer import files, stop_after

METHODS = names("methods")


def test_all_are_there() -> None:
    baselines = ["focal", "csro", "dora", "unicorn-ss", "decoder", "task-classifier"]
    spc = [
        f"spc-{latent}-{loss}"
        for latent in ("discrete", "simnorm", "continuous")
        for loss in ("mse", "cosine")
    ]
    assert sorted(METHODS) == sorted(
        [
            "spc",
            "tc-only",
            "no-context",
            "oracle",
            "bc",
            "tdmpc2",
            *spc,
            *baselines,
            *(f"{name}-ln" for name in baselines),
        ]
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_and_resumes_to_the_bit(method: str, store: Store, tmp_path: Path) -> None:
    config = small_config(method, "tiny", "steps=3", "log_every=1", "checkpoint_every=10")
    whole, parts = (
        write_run(describe_run(tmp_path / name, store, config, method=method, preset="tiny", seeds=(3, 4)))
        for name in ("whole", "parts")
    )
    assert train_run(whole, store)
    assert not train_run(parts, store, stop=stop_after(1))
    assert train_run(open_run(parts.path), store)
    assert files(whole) == files(parts)
    assert len(list(read_metrics(whole.path / "metrics.jsonl"))) == 6
    assert load_agent(open_run(whole.path)).seeds == (3, 4)


@pytest.mark.parametrize("method", [name for name in METHODS if name.endswith("-ln")])
def test_ln_variants_differ_in_the_network_alone(method: str) -> None:
    with_layer_norm, plain = resolve(method, "paper"), resolve(method.removesuffix("-ln"), "paper")
    assert with_layer_norm.network.style == "layernorm-mish"
    assert with_layer_norm.network.init == resolve("spc", "paper").network.init
    assert (plain.network.style, plain.network.init) == ("relu", "orthogonal")
    assert with_layer_norm == plain.model_copy(update={"network": with_layer_norm.network})
    assert with_layer_norm.batch.horizon == 1
    assert with_layer_norm.context.next_observation is True
    assert with_layer_norm.world_model is None


@pytest.mark.parametrize("method", [name for name in METHODS if name.startswith("spc-")])
def test_formulations_differ_from_spc_in_the_world_model_alone(method: str) -> None:
    _, latent, consistency = method.split("-")
    config, spc = resolve(method, "paper"), resolve("spc", "paper")
    assert config.world_model is not None
    assert (config.world_model.latent, config.world_model.consistency) == (latent, consistency)
    assert config.model_copy(update={"world_model": spc.world_model}) == spc


def test_published_weights() -> None:
    dumped = {
        name: resolve(name, "paper").objectives.model_dump(exclude_none=True)
        for name in ("csro", "dora", "unicorn-ss", "tc-only")
    }
    network = {"hidden": (256, 256), "learning_rate": 1e-4}
    focal, decoder = {"weight": 1.0}, {"weight": 1.0, "reward_weight": 1.0, **network}
    assert dumped["csro"] == {"focal": focal, "club": {"weight": 0.5, "negatives": "task", **network}}
    assert dumped["dora"] == {
        "infonce": {"weight": 1.0, "radius": 100.0, "tau": 0.005},
        "l2": {"weight": 0.01},
    }
    assert dumped["unicorn-ss"] == {"focal": focal, "decoder": decoder}
    assert list(dumped["tc-only"]) == ["temporal_consistency"]


def test_the_listing_says_what_trains_what() -> None:
    table = {method.name: method for method in list_methods()}
    assert list(table) == METHODS
    assert table["spc"].trained_by == "temporal consistency + InfoNCE"
    assert table["tc-only"].trained_by == "temporal consistency"
    assert table["csro"].trained_by == "FOCAL + CLUB bound of I(z; s, a)"
    assert table["spc-simnorm-mse"].world_model == "simnorm, mse"
    assert (table["dora-ln"].world_model, table["dora-ln"].network) == ("none", "layernorm-mish")
    assert table["no-context"].trained_by == "none: z = 0"
    assert table["oracle"].trained_by == "none: z = the task's parameters"
    assert (table["bc"].backbone, table["spc"].backbone) == ("bc", "iql")
    floors = {"no-context", "oracle"}
    assert all("arXiv" in method.reference for method in table.values() if method.name not in floors)


def test_a_users_method_extends_bundled_ones_and_its_own(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text("context:\n  dim: 9\nreference: me\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: [unicorn-ss-ln, wide.yaml]\nobjectives:\n  focal: null\n  l2: {weight: 0.5}\n")
    config = resolve(str(mine), "tiny")
    assert config.context.dim == 9
    assert config.objectives.focal is None
    assert config.objectives.l2 is not None
    assert config.objectives.l2.weight == 0.5
    assert config.objectives.decoder == resolve("unicorn-ss-ln", "tiny").objectives.decoder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: spcc\n", r"no method is called 'spcc': did you mean spc\?"),
        ("extends: a.yaml\n", r"a\.yaml: methods extend each other in a circle: a -> a"),
        ("extends: b.yaml\n", r"a\.yaml: methods extend each other in a circle: a -> b -> a"),
        ("extends: 3\n", r"a\.yaml:1: extends"),
        ("extends: focal\nobjectives:\n  focal: null\n", "nothing trains the context encoder"),
        ("objectives: {}\n", "nothing trains the context encoder"),
        (
            "extends: focal\nobjectives:\n  club:\n    negatives: all\n",
            r"a\.yaml:4: objectives\.club\.negatives",
        ),
    ],
)
def test_mistakes_in_a_method_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ClwmError, match=message) as error:
        resolve(str(tmp_path / "a.yaml"), "tiny")
    assert "\n" not in str(error.value)


def test_methods_that_extend_the_same_are_read_once(tmp_path: Path) -> None:
    """Thirty files of two lines would be read a billion times."""
    for number in range(15):
        text = f"extends: [m{number + 1}.yaml, m{number + 1}.yaml]\n" if number < 14 else "extends: focal\n"
        (tmp_path / f"m{number}.yaml").write_text(text)
    begun = time.process_time()
    assert resolve(str(tmp_path / "m0.yaml"), "tiny") == resolve("focal", "tiny")
    assert time.process_time() - begun < 5.0


def test_a_circle_through_other_paths_and_a_chain_without_end(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a.yaml").write_text("extends: ../d/a.yaml\n")
    with pytest.raises(ClwmError, match="in a circle: a -> a"):
        resolve(str(folder / "a.yaml"), "tiny")
    for number in range(30):
        (tmp_path / f"m{number}.yaml").write_text(f"extends: m{number + 1}.yaml\n")
    with pytest.raises(ClwmError, match="more than 20 methods extend one another"):
        resolve(str(tmp_path / "m0.yaml"), "tiny")
    with pytest.raises(ClwmError, match="expected key=value"):
        resolve("focal", "tiny", [f"{'a.' * 5000}b=1"])


def test_a_preset_may_extend_another(tmp_path: Path) -> None:
    (tmp_path / "quick.yaml").write_text("extends: tiny\nbatch: {tasks: 3}\n")
    (tmp_path / "quicker.yaml").write_text("extends: quick.yaml\nsteps: 7\n")
    tiny, config = resolve("spc", "tiny"), resolve("spc", str(tmp_path / "quicker.yaml"))
    batch = tiny.batch.model_copy(update={"tasks": 3})
    assert config == tiny.model_copy(update={"steps": 7, "batch": batch})


@pytest.mark.parametrize(
    ("method", "preset", "words"),
    [
        ("spc", "taks.yaml", "taks.yaml:3: unknown key batch.taks: did you mean tasks?"),
        ("spc", "on-taks.yaml", "taks.yaml:3: unknown key batch.taks: did you mean tasks?"),
        ("radios.yaml", "tiny", "radios.yaml:3: unknown key objectives.infonce.radios: did you mean radius?"),
        ("on-radios.yaml", "tiny", "radios.yaml:3: unknown key objectives.infonce.radios: did you mean"),
        ("radios.yaml", "taks.yaml", "taks.yaml:3: unknown key batch.taks: did you mean tasks?"),
        ("spc", "circle.yaml", "circle.yaml: presets extend each other in a circle: circle -> circle"),
        ("spc", "no-preset.yaml", "no preset is called 'spc'"),
    ],
)
def test_mistakes_are_found_in_the_file_that_makes_them(
    method: str, preset: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "taks": "extends: tiny\nbatch:\n  taks: 2\n",
        "on-taks": "extends: taks.yaml\nsteps: 3\n",
        "radios": "extends: spc\nobjectives:\n  infonce: {radios: 0.5}\n",
        "on-radios": "extends: radios.yaml\nfeatures: both\n",
        "circle": "extends: circle.yaml\n",
        "no-preset": "extends: spc\n",
    }.items():
        Path(f"{name}.yaml").write_text(text)
    with pytest.raises(ClwmError) as caught:
        resolve(method, preset)
    assert str(caught.value).startswith(words)
