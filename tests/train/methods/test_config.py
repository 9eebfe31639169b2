from __future__ import annotations

from pathlib import Path

import pytest

from clwm_data.errors import ClwmError
from clwm_train.config import (
    FocalConfig,
    InfoNCEConfig,
    Td3BcConfig,
    TemporalConsistencyConfig,
    TrainConfig,
    WorldModelConfig,
)
from clwm_train.methods.resolve import names, resolve


def test_paper_preset_is_the_published_constants_that_the_models_default_to() -> None:
    objectives = {"temporal_consistency": TemporalConsistencyConfig(), "infonce": InfoNCEConfig()}
    expected = TrainConfig(world_model=WorldModelConfig(), objectives=objectives)  # type: ignore[arg-type]
    assert resolve("spc", "paper") == expected


def test_published_constants() -> None:
    config = resolve("spc", "paper")
    batch = config.batch
    assert (batch.tasks, batch.windows, batch.horizon, batch.context) == (16, 64, 5, 64)
    assert (config.steps, config.representation_every) == (500_000, 2)
    assert config.network.init == "truncated-normal-0.02"
    assert (config.context.dim, config.context.hidden, config.context.learning_rate) == (5, (256, 256), 1e-4)
    world_model = config.world_model
    assert world_model is not None
    assert (world_model.latent_dim, world_model.levels, world_model.target_tau) == (512, (5, 3), 0.005)
    assert (world_model.encoder_hidden, world_model.dynamics_hidden) == ((512,), (512, 512))
    assert (world_model.reward_hidden, world_model.learning_rate) == ((512, 512), 1e-4)
    assert config.objectives.temporal_consistency is not None
    assert config.objectives.temporal_consistency.rho == 0.99
    assert config.objectives.infonce == InfoNCEConfig(weight=1.0, radius=100.0, tau=0.005)
    iql, policy = config.iql, config.policy
    assert iql is not None
    assert (iql.expectile, iql.inverse_temperature, iql.max_weight, iql.discount) == (0.8, 3.0, 100.0, 0.99)
    assert (iql.hidden, iql.learning_rate, policy.log_std_min, policy.log_std_max) == (
        (256, 256),
        3e-4,
        -5.0,
        2.0,
    )


@pytest.mark.parametrize("method", names("methods"))
@pytest.mark.parametrize("preset", names("presets"))
def test_every_method_comes_in_every_size(method: str, preset: str) -> None:
    config = resolve(method, preset)
    assert (config.world_model is None) == (config.objectives.temporal_consistency is None)


def test_a_preset_sizes_only_what_a_method_has() -> None:
    focal = resolve("focal", "tiny")
    assert focal.world_model is None
    assert focal.objectives.model_dump(exclude_none=True) == {"focal": {"weight": 1.0}}
    assert (focal.network.style, focal.network.init, focal.batch.horizon) == ("relu", "orthogonal", 1)
    assert focal.batch.windows == resolve("spc", "tiny").batch.windows


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("batch.tasks=3", ("batch", "tasks"), 3),
        (" batch.tasks = 3", ("batch", "tasks"), 3),
        ("iql.learning_rate=1e-2", ("iql", "learning_rate"), 0.01),
        ("context.hidden=[7, 8]", ("context", "hidden"), (7, 8)),
        ("iql.transitions=first", ("iql", "transitions"), "first"),
        ("objectives.infonce=null", ("objectives", "infonce"), None),
        ("objectives.focal={}", ("objectives", "focal"), FocalConfig()),
        ("data.standardise_observation=false", ("data", "standardise_observation"), False),
        ("data.reward_scale=auto", ("data", "reward_scale"), "auto"),
    ],
)
def test_set_overrides_any_field(override: str, path: tuple[str, str], value: object) -> None:
    assert getattr(getattr(resolve("spc", "tiny", [override]), path[0]), path[1]) == value


def test_later_set_wins() -> None:
    assert resolve("spc", "tiny", ["batch.tasks=3", "batch.tasks=9"]).batch.tasks == 9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("iql.expectil=0.9", r"--set: unknown key iql\.expectil: did you mean expectile\?"),
        ("objectives.infonc={}", r"unknown key objectives\.infonc: did you mean infonce\?"),
        (
            "learning_rate=3",
            r"--set: unknown key learning_rate: did you mean context\.learning_rate, "
            r"world_model\.learning_rate, "
            r"objectives\.club\.learning_rate, objectives\.decoder\.learning_rate, "
            r"objectives\.task_classifier\.learning_rate, iql\.learning_rate, td3bc\.learning_rate, "
            r"bc\.learning_rate or tdmpc2\.learning_rate\?$",
        ),
        ("expectil=0.9", r"unknown key expectil: did you mean iql\.expectile\?$"),
        ("context.horizon=9", r"unknown key context\.horizon: did you mean batch\.horizon\?$"),
        ("iql.learning_rat=9", r"unknown key iql\.learning_rat: did you mean learning_rate\?$"),
        ("step=9", r"unknown key step: did you mean steps\?$"),
        ("codes=9", r"unknown key codes: known keys: backbone, "),
        ("batch.tasks=many", r"--set: batch\.tasks: .*integer.*'many'"),
        ("batch.tasks=0", r"batch\.tasks: .*greater than or equal to 1.*0"),
        ("batch.tasks=2.5", r"batch\.tasks: .*integer.*2\.5"),
        ("iql.learning_rate=nan", r"iql\.learning_rate"),
        ("iql.learning_rate=-1", r"iql\.learning_rate: .*greater than 0"),
        ("batch.tasks", "expected key=value"),
        ("=3", "expected key=value"),
        ("batch.tasks=[", "not a YAML value"),
        ("world_model.latent=continuous", "cross-entropy needs latent discrete"),
        ("world_model.levels=[5,1]", r"world_model\.levels\[1\]"),
        ("world_model=null", "needs a world_model"),
        ("policy=mixtur", r"--set: policy: .*'mixtur'"),
        ("data.reward_scale=0", r"--set: data\.reward_scale: input should be greater than 0, found 0$"),
        ("data.reward_scale=.nan", r"--set: data\.reward_scale: input should be a finite number, found nan$"),
        ("policy.components=0", r"policy\.components: .*greater than or equal to 1"),
        ("policy.log_std_min=nan", r"policy\.log_std_min: .*nan"),
        ("policy.log_std_min=.nan", r"policy\.log_std_min: .*found nan"),
        ("policy.log_std_min=3", r"log_std_min 3.0 is not below log_std_max 2.0"),
        ("policy=deterministic", "backbone iql cannot train a deterministic policy: make policy gaussian or"),
        ("backbone=sac", r"backbone: .*'iql', 'td3bc', 'bc' or 'tdmpc2'.*'sac'"),
        ("td3bc.alpha=1", "td3bc has keys, but backbone is iql: remove td3bc"),
        ("iql=null", "backbone is iql"),
        ("context.hidden=64", r"context\.hidden: expected a list, found 64: write \[64\]$"),
        ("evaluation={every: 5, splits: id}", r"splits: expected a list, found 'id': write \[id\]$"),
        ("batch=8", r"--set: batch: expected keys with values, found 8: known keys: context, horizon, "),
        ("objectives=focal", r"objectives: expected keys with values, found 'focal': known keys: club, "),
        ("features=code", r"features: .*'codes'.*'code'"),
        ("objectives.temporal_consistency=null", "nothing trains the world_model"),
    ],
)
def test_mistakes_are_told_in_one_line(override: str, message: str) -> None:
    with pytest.raises(ClwmError, match=message) as error:
        resolve("spc", "tiny", [override])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("method", "override"), [("focal", "backbone=tdmpc2"), ("tdmpc2", "features=both")])
def test_critics_on_roll_outs_need_a_world_model_and_its_codes(method: str, override: str) -> None:
    with pytest.raises(ClwmError, match="backbone tdmpc2 learns its critics on roll-outs"):
        resolve(method, "tiny", [override])


def test_tdmpc2_has_the_constants_of_its_paper() -> None:
    config = resolve("tdmpc2", "paper")
    model, backbone, loss = config.world_model, config.tdmpc2, config.objectives.temporal_consistency
    assert model is not None
    assert backbone is not None
    assert loss is not None
    assert (model.latent, model.simnorm_group, model.latent_dim, model.reward_bins) == (
        "simnorm",
        8,
        512,
        101,
    )
    assert (model.learning_rate, model.encoder_rate, model.weight_decay) == (3e-4, 0.3, 0.0)
    assert (backbone.critics, backbone.bins, backbone.hidden) == (5, 101, (512, 512))
    assert (backbone.target_tau, backbone.entropy_weight, backbone.learning_rate) == (0.01, 1e-4, 3e-4)
    assert (config.batch.horizon, config.max_gradient_norm, config.representation_every) == (3, 20.0, 1)
    assert (loss.rho, loss.weight) == (0.5, 20.0)
    within = (loss.reward_weight, loss.termination_weight, loss.value_weight)
    assert [loss.weight * weight for weight in within] == pytest.approx([0.1, 1.0, 0.1])


def test_a_backbone_is_sized_by_the_preset_and_the_others_are_absent() -> None:
    config = resolve("focal-ln", "tiny", ["backbone=td3bc", "td3bc.alpha=1"])
    assert (config.iql, config.bc) == (None, None)
    assert config.td3bc == Td3BcConfig(alpha=1.0, hidden=(64, 64), learning_rate=1e-3)
    assert config.learning is config.td3bc
    assert config.policy_head == "deterministic"
    with pytest.raises(ClwmError, match="backbone td3bc cannot train a mixture policy: make policy determ"):
        resolve("focal-ln", "tiny", ["backbone=td3bc", "policy=mixture"])


def test_small_trains_a_mixture_that_gives_way_to_a_backbone_with_a_head_of_its_own() -> None:
    config = resolve("focal-ln", "small")
    assert config.iql is not None
    assert (config.policy_head, config.iql.inverse_temperature) == ("mixture", 1.0)
    assert resolve("bc", "small").policy_head == "mixture"
    assert resolve("spc", "small", ["policy=gaussian"]).policy_head == "gaussian"
    assert resolve("spc", "small", ["backbone=td3bc"]).policy_head == "deterministic"
    with pytest.raises(ClwmError, match="backbone td3bc cannot train a gaussian policy"):
        resolve("spc", "small", ["backbone=td3bc", "policy=gaussian"])


def test_a_policy_has_a_short_form() -> None:
    short, long = resolve("spc", "tiny", ["policy=mixture"]), resolve("spc", "tiny", ["policy.head=mixture"])
    assert short == long
    assert (short.policy_head, short.policy.components) == ("mixture", 5)
    assert resolve("spc", "paper").policy_head == "gaussian"


def test_features_are_codes_where_there_are_any() -> None:
    assert resolve("spc", "tiny").sees == "codes"
    assert resolve("focal", "tiny").sees == "observation"
    assert resolve("spc", "tiny", ["features=both"]).sees == "both"
    with pytest.raises(ClwmError, match="features both needs a world_model"):
        resolve("focal", "tiny", ["features=both"])


def test_unknown_names_are_told() -> None:
    with pytest.raises(ClwmError, match=r"no method is called 'spcc': did you mean spc\?"):
        resolve("spcc", "tiny")
    with pytest.raises(ClwmError, match="no preset is called 'huge': there are: paper, small, tiny"):
        resolve("spc", "huge")


def test_a_mistake_in_a_method_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("objectives:\n  focal:\n    wieght: 2.0\n")
    with pytest.raises(
        ClwmError, match=rf"{path}:3: unknown key objectives\.focal\.wieght: did you mean weight"
    ):
        resolve(str(path), "tiny")
    path.write_text("objectives:\n  focal:\n    weight: 2.0\n")
    focal = resolve(str(path), "tiny").objectives.focal
    assert focal is not None
    assert focal.weight == 2.0
