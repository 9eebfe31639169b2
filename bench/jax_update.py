"""SPC's update in JAX, one jitted function per kind of update: what the package's own is held to.

One seed. Written from the equations as bench/reference.py is, in JAX's way: pure functions of a tree of
parameters, ``jax.grad``, Adam by hand, donated state, twin critics by ``vmap``, the roll-out unrolled. Both
frames share one pass of the encoder. Usage: see bench/bench_update.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clwm_train.config import TrainConfig

Tree = Any
Array = jax.Array
BETAS, EPSILON = (0.9, 0.999), 1e-8


def init_mlp(key: Array, inputs: int, hidden: Sequence[int], outputs: int) -> Tree:
    """Linear -> LayerNorm -> Mish per hidden layer, then Linear; truncated normal weights, zero biases."""
    layers = []
    for size in (*hidden, outputs):
        key, own = jax.random.split(key)
        weight = 0.02 * jax.random.truncated_normal(own, -2.0, 2.0, (inputs, size))
        layers.append({"weight": weight, "bias": jnp.zeros(size)})
        if len(layers) <= len(hidden):
            layers[-1] |= {"gain": jnp.ones(size), "shift": jnp.zeros(size)}
        inputs = size
    return layers


def mish(x: Array) -> Array:
    return x * jnp.tanh(jax.nn.softplus(x))


class JaxSPC:
    """Networks, moments and buffers of one seed, and their update.

    Args:
        config: sizes and constants.
        observation_size: entries of an observation.
        action_size: entries of an action.
        tasks: number of train tasks.
        bf16: multiply in bfloat16; weights and sums in float32.
    """

    def __init__(
        self, config: TrainConfig, observation_size: int, action_size: int, tasks: int, *, bf16: bool = False
    ) -> None:
        model, learning = config.world_model, config.learning
        assert model is not None
        self.config, self.model, self.bf16 = config, model, bf16
        self.codes, self.channels = math.prod(model.levels), len(model.levels)
        size, z = model.latent_dim * self.channels, config.context.dim
        keys = jax.random.split(jax.random.key(0), 8)
        encoder = init_mlp(keys[0], observation_size, model.encoder_hidden, size)
        critics = jax.vmap(lambda key: init_mlp(key, size + z + action_size, learning.hidden, 1))(keys[5:7])
        outputs = model.latent_dim * self.codes
        self.state: Tree = {
            "representation": {
                "context": init_mlp(
                    keys[1], observation_size + action_size + 1, config.context.hidden, config.context.dim
                ),
                "encoder": encoder,
                "dynamics": init_mlp(keys[2], size + action_size + z, model.dynamics_hidden, outputs),
                "reward": init_mlp(keys[3], size + action_size + z, model.reward_hidden, 1),
            },
            "iql": {
                "policy": init_mlp(keys[4], size + z, learning.hidden, 2 * action_size),
                "value": init_mlp(keys[7], size + z, learning.hidden, 1),
                "critics": critics,
            },
            "target_encoder": jax.tree.map(jnp.copy, encoder),
            "target_critics": jax.tree.map(jnp.copy, critics),
            "mean": jnp.zeros((tasks, z)),
            "seen": jnp.zeros(tasks, bool),
            "count": jnp.zeros((), jnp.int32),
            "key": jax.random.key(1),
        }
        for part in ("representation", "iql"):
            for moment in ("first", "second"):
                self.state[f"{part}_{moment}"] = jax.tree.map(jnp.zeros_like, self.state[part])
        self.levels = np.array(model.levels)
        self.half = (self.levels - 1) * 1.001 / 2
        self.offset = np.where(self.levels % 2 == 0, 0.5, 0.0)
        self.basis = np.cumprod([1, *model.levels[:-1]])
        digits = np.arange(self.codes)[:, None] // self.basis % self.levels
        self.codebook = ((digits - self.levels // 2) / (self.levels // 2)).astype(np.float32)
        self._update = jax.jit(self._one, static_argnames="represent", donate_argnums=0)

    def update(self, batch: dict[str, Array], *, represent: bool) -> dict[str, Array]:
        """One iteration; ``represent`` trains world model and context encoder as well."""
        self.state, metrics = self._update(self.state, batch, represent=represent)
        return metrics

    def mlp(self, layers: Tree, x: Array) -> Array:
        for layer in layers:
            weight = layer["weight"]
            if self.bf16:
                x = jnp.matmul(
                    x.astype(jnp.bfloat16), weight.astype(jnp.bfloat16), preferred_element_type=jnp.float32
                )
            else:
                x = x @ weight
            x = x + layer["bias"]
            if "gain" in layer:
                x = jax.nn.standardize(x, axis=-1, epsilon=1e-5) * layer["gain"] + layer["shift"]
                x = mish(x)
        return x

    def bounded(self, raw: Array) -> Array:
        x = raw.reshape(*raw.shape[:-1], -1, self.channels)
        return jnp.tanh(x + np.arctanh(self.offset / self.half)) * self.half - self.offset

    def encode(self, encoder: Tree, observation: Array) -> Array:
        """Codes with a straight-through gradient."""
        x = self.bounded(self.mlp(encoder, observation))
        rounded = x + jax.lax.stop_gradient(jnp.round(x) - x)
        return (rounded / (self.levels // 2)).reshape(*observation.shape[:-1], -1)

    def index(self, encoder: Tree, observation: Array) -> Array:
        digits = jnp.round(self.bounded(self.mlp(encoder, observation))).astype(jnp.int32)
        return ((digits + self.levels // 2) * self.basis).sum(-1)

    def _one(self, state: Tree, batch: dict[str, Array], *, represent: bool) -> tuple[Tree, dict[str, Array]]:
        state = dict(state)
        state["key"], key = jax.random.split(state["key"])
        state["count"] = state["count"] + 1
        metrics: dict[str, Array] = {}
        if represent:
            loss = partial(self._representation_loss, state, batch, key)
            gradient, (code, z, buffers, metrics) = jax.grad(loss, has_aux=True)(state["representation"])
            state |= buffers
            iql_inputs = code, z
        else:
            iql_inputs = self._features(state["representation"], batch)[:2]
        code, z = map(jax.lax.stop_gradient, iql_inputs)
        if represent:
            rate, decay = self.model.learning_rate, self.model.weight_decay
            rates = {"context": (self.config.context.learning_rate, 0.0)}
            state = self._adam(state, "representation", gradient, rates, (rate, decay), every=2)
            state["target_encoder"] = lerp(
                state["target_encoder"], state["representation"]["encoder"], self.model.target_tau
            )
        gradient, losses = jax.grad(partial(self._iql_loss, state, batch, code, z), has_aux=True)(
            state["iql"]
        )
        state = self._adam(state, "iql", gradient, {}, (self.config.learning.learning_rate, 0.0))
        assert self.config.iql is not None
        state["target_critics"] = lerp(
            state["target_critics"], state["iql"]["critics"], self.config.iql.target_tau
        )
        return state, metrics | losses

    def _features(self, networks: Tree, batch: dict[str, Array]) -> tuple[Array, Array, Array]:
        """Codes of all frames without gradient, z, and the first frames' codes with gradient."""
        z = jnp.tanh(self.mlp(networks["context"], batch["context"])).mean(1)
        first = self.encode(networks["encoder"], batch["observation"][:, :, :1])
        later = jax.lax.stop_gradient(self.encode(networks["encoder"], batch["observation"][:, :, 1:]))
        return jnp.concatenate([jax.lax.stop_gradient(first), later], 2), z, first[:, :, 0]

    def _representation_loss(
        self, state: Tree, batch: dict[str, Array], key: Array, networks: Tree
    ) -> tuple[Array, Any]:
        all_codes, z, code = self._features(networks, batch)
        term, contrast = self.config.objectives.temporal_consistency, self.config.objectives.infonce
        assert term is not None
        assert contrast is not None
        target = self.index(state["target_encoder"], batch["observation"][:, :, 1:])
        horizon = batch["action"].shape[2]
        context = jnp.broadcast_to(z[:, None], (*code.shape[:-1], z.shape[-1]))
        errors, inputs = [], []
        for t, own in enumerate(jax.random.split(key, horizon)):
            x = jnp.concatenate([code, batch["action"][:, :, t], context], -1)
            inputs.append(x)
            # Codes first: reductions over them then run along contiguous dimensions.
            logits = self.mlp(networks["dynamics"], x).reshape(*x.shape[:-1], self.codes, -1)
            log_p = jax.nn.log_softmax(logits, -2)
            at_target = jnp.take_along_axis(log_p, target[:, :, t, None], -2).squeeze(-2)
            errors.append(-at_target.mean(-1))
            if t + 1 < horizon:
                noisy = (logits + jax.random.gumbel(own, logits.shape)) / self.model.temperature
                soft = jnp.einsum("...cd,cx->...dx", jax.nn.softmax(noisy, -2), self.codebook)
                hard = jnp.asarray(self.codebook)[noisy.argmax(-2)]
                code = (soft + jax.lax.stop_gradient(hard - soft)).reshape(code.shape)
        reward = self.mlp(networks["reward"], jnp.stack(inputs, 2)).squeeze(-1)
        weight = batch["mask"] * jnp.cumprod(1 - batch["terminated"], -1)
        share = term.rho ** jnp.arange(horizon) * weight / jnp.maximum(weight.sum(), 1)
        consistency = (share * jnp.stack(errors, -1)).sum()
        reward_error = (share * (reward - batch["reward"]) ** 2).sum()
        infonce, buffers = self._infonce(state, batch["task"], z)
        loss = term.weight * (consistency + term.reward_weight * reward_error) + contrast.weight * infonce
        metrics = {"consistency": consistency, "reward": reward_error, "infonce": infonce}
        return loss, (all_codes, z, buffers, metrics)

    def _infonce(self, state: Tree, task: Array, z: Array) -> tuple[Array, Tree]:
        config = self.config.objectives.infonce
        assert config is not None
        same = (task[:, None] == task).astype(z.dtype)
        count = same.sum(1)
        query = same @ z / count[:, None]
        new = jax.lax.stop_gradient(query)
        old = state["mean"][task]
        rate = jnp.where(state["seen"][task], config.tau, 1.0)[:, None]
        mean = state["mean"].at[task].set(old + rate * (new - old))
        seen = state["seen"].at[task].set(True)
        square = ((query[:, None] - mean) ** 2).sum(-1)
        distance = jnp.sqrt(jnp.maximum(square, 1e-12))
        logits = jnp.where(seen, -distance / config.radius, -jnp.inf)
        log_p = jax.nn.log_softmax(logits)
        share = 1 / count / (1 / count).sum()
        return -(share * log_p[jnp.arange(len(task)), task]).sum(), {"mean": mean, "seen": seen}

    def _iql_loss(
        self, state: Tree, batch: dict[str, Array], codes: Array, z: Array, networks: Tree
    ) -> tuple[Array, dict[str, Array]]:
        config, policy = self.config.iql, self.config.policy
        assert config is not None
        context = jnp.broadcast_to(z[:, None, None], (*codes.shape[:-1], z.shape[-1]))
        states = jnp.concatenate([codes, context], -1)
        before, action = states[:, :, :-1], batch["action"]
        pair = jnp.concatenate([before, action], -1)
        share = batch["mask"] / batch["mask"].sum()
        critics = jax.vmap(self.mlp, (0, None))
        target_q = critics(state["target_critics"], pair).squeeze(-1).min(0)
        values = self.mlp(networks["value"], states).squeeze(-1)
        following = jax.lax.stop_gradient(values[:, :, 1:])
        backup = batch["reward"] + config.discount * (1 - batch["terminated"]) * following
        advantage = target_q - values[:, :, :-1]
        expectile = jnp.where(advantage < 0, 1 - config.expectile, config.expectile)
        value_loss = (share * expectile * advantage**2).sum()
        critic_loss = (share * (critics(networks["critics"], pair).squeeze(-1) - backup) ** 2).sum()
        mean, raw = jnp.split(self.mlp(networks["policy"], before), 2, -1)
        log_std = policy.log_std_min + 0.5 * (policy.log_std_max - policy.log_std_min) * (jnp.tanh(raw) + 1)
        error = (action - jnp.tanh(mean)) * jnp.exp(-log_std)
        density = (-0.5 * error**2 - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
        weight = jnp.minimum(
            jnp.exp(config.inverse_temperature * jax.lax.stop_gradient(advantage)), config.max_weight
        )
        policy_loss = -(share * weight * density).sum()
        losses = {"value_loss": value_loss, "critic_loss": critic_loss, "policy_loss": policy_loss}
        return value_loss + critic_loss + policy_loss, losses

    def _adam(
        self,
        state: Tree,
        part: str,
        gradient: Tree,
        rates: dict[str, tuple[float, float]],
        otherwise: tuple[float, float],
        every: int = 1,
    ) -> Tree:
        """AdamW on a part of the parameters; learning rate and weight decay by the network's name."""
        count = (state["count"] + every - 1) // every
        names = (part, f"{part}_first", f"{part}_second")
        corrections = [1 - beta**count for beta in BETAS]
        new: dict[str, Tree] = {name: {} for name in names}
        for network, gradients in gradient.items():
            rate, decay = rates.get(network, otherwise)
            olds = [state[name][network] for name in names]
            first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, olds[1], gradients)
            second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, olds[2], gradients)

            def step(p: Array, m: Array, v: Array, rate: float = rate, decay: float = decay) -> Array:
                deviation = jnp.sqrt(v / corrections[1]) + EPSILON
                return p - rate * (m / corrections[0] / deviation + decay * p)

            moved = jax.tree.map(step, olds[0], first, second)
            for name, value in zip(names, (moved, first, second), strict=True):
                new[name][network] = value
        return state | new


def lerp(target: Tree, source: Tree, tau: float) -> Tree:
    return jax.tree.map(lambda old, new: old + tau * (new - old), target, source)


def synthetic_batch(
    config: TrainConfig, observation_size: int, action_size: int, tasks: int
) -> dict[str, Array]:
    """A batch of noise on JAX's device."""
    rng, batch = np.random.default_rng(0), config.batch
    shape = batch.tasks, batch.windows, batch.horizon
    transition = observation_size + action_size + 1
    arrays = {
        "task": rng.integers(0, tasks, batch.tasks),
        "context": rng.standard_normal((batch.tasks, batch.context, transition), dtype=np.float32),
        "observation": rng.standard_normal(
            (*shape[:2], batch.horizon + 1, observation_size), dtype=np.float32
        ),
        "action": 2 * rng.random((*shape, action_size), dtype=np.float32) - 1,
        "reward": rng.standard_normal(shape, dtype=np.float32),
        "terminated": np.zeros(shape, np.float32),
        "mask": np.ones(shape, np.float32),
    }
    return {name: jnp.asarray(array) for name, array in arrays.items()}
