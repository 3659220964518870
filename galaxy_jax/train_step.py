"""One step of training: the state, and the pure function that takes it from batch t to batch t + 1."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from galaxy_jax import optim
from galaxy_jax.tasks import Task


class State(NamedTuple):
  """All that training changes. `collections` are the model's other than params; `ema` mirrors both, or is empty."""
  step: jax.Array
  params: Any
  collections: Any
  opt_state: Any
  ema: Any


def init_state(task: Task, optimizer: optax.GradientTransformation, *, seed: int, ema: float) -> State:
  """The state before the first step."""
  variables = task.init(jax.random.key(seed))
  params = variables["params"]
  collections = {name: value for name, value in variables.items() if name != "params"}
  averaged = jax.tree.map(jnp.copy, {"params": params, **collections}) if ema else {}
  return State(jnp.zeros((), jnp.int32), params, collections, optimizer.init(params), averaged)


def start_from(variables: dict, state: State) -> State:
  """A first state with other variables: they are trained on, and the running average starts with them."""
  collections = {name: value for name, value in variables.items() if name != "params"}
  return state._replace(params=variables["params"], collections=collections, ema=variables if state.ema else state.ema)


def row_keys(seed: int, step: jax.Array | int, rows: jax.Array) -> jax.Array:
  """The keys of rows of batch `step`, (B,) from (B,): fold_in(fold_in(key(seed), step), row)."""
  step_key = jax.random.fold_in(jax.random.key(seed), step)
  return jax.vmap(lambda row: jax.random.fold_in(step_key, row))(rows)


def evaluated_variables(state: State) -> dict:
  """The variables that predict: the averaged ones where there are any."""
  return state.ema or {"params": state.params, **state.collections}


def make_train_step(task: Task, optimizer: optax.GradientTransformation, *, seed: int, ema: float,
                    frozen: Sequence[str] = ()):
  """`train_step(state, batch, *, axis_name=None) → (state, sums)`, the one step that jit and pmap both run.

  The batch holds `place`, each row's number in the global batch, which decides its key (`row_keys`). The loss's sum is
  divided by its count over all devices, then gradients are summed, so rows weigh the same wherever they are. `sums` has
  the task's {name: (sum, count)} and the norms of the gradient and of the new parameters. Nothing is differentiated by
  the parameters of the stages `frozen`, which costs less; that they stay is the optimiser's doing.
  """
  def train_step(state: State, batch: dict, *, axis_name: str | None = None):
    total_over_devices = (lambda x: jax.lax.psum(x, axis_name)) if axis_name else (lambda x: x)
    keys = row_keys(seed, state.step, batch["place"])
    batch = computed_once(task.augment(keys, batch), state.step)

    def objective(params):
      if frozen:
        params = jax.tree.map(lambda p, yes: p if yes else jax.lax.stop_gradient(p), params,
                              optim.trained(params, frozen))
      sums, collections = task.loss({"params": params, **state.collections}, batch, keys)
      total, count = next(iter(sums.values()))
      count = jax.lax.stop_gradient(total_over_devices(count))
      return total / jnp.maximum(count, 1), (sums, collections)

    gradient, (sums, collections) = jax.grad(objective, has_aux=True)(state.params)
    gradient, sums = total_over_devices((gradient, sums))
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    averaged = state.ema
    if ema:
      # A short memory at first, so that the average does not carry the initial parameters along.
      decay = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
      # Written so that what does not change stays what it is, to the bit.
      averaged = jax.tree.map(lambda a, b: a + (1 - decay) * (b - a), averaged, {"params": params, **collections})
    norms = {"gradient_norm": optax.global_norm(gradient), "parameter_norm": optax.global_norm(params)}
    sums = sums | {name: (norm, jnp.ones(())) for name, norm in norms.items()}
    return State(state.step + 1, params, collections, opt_state, averaged), sums

  return train_step


def computed_once(batch, step):
  """A barrier behind which nothing is computed again.

  XLA would interpolate the images once for the first convolution and once more, slowly, for its derivative. Its CPU
  backend drops `optimization_barrier`, but cannot see that the condition always holds.
  """
  if jax.default_backend() != "cpu":
    return jax.lax.optimization_barrier(batch)
  return jax.lax.cond(step >= 0, lambda x: x, lambda x: jax.tree.map(jnp.zeros_like, x), batch)
