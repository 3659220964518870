"""The task of instances learns: the whole chain from images and outlines to average precision."""
import instances as small
import jax
import jax.numpy as jnp
import numpy as np

from galaxy_jax import optim
from galaxy_jax.train_step import init_state, make_train_step, start_from


def test_two_images_are_learnt_by_heart():
  # Wider than elsewhere: with room to spare, whatever the first variables are.
  task = small.task(geometry={}, network={"width": 8, "fpn_width": 16, "rpn_width": 16, "box_width": 64})
  batch = small.batch((2, 3)) | {"place": jnp.arange(2)}
  optimizer = optim.optimizer("adamw", optim.learning_rate_schedule("cosine", peak=2e-3, steps=240), weight_decay=0.0,
                              clip=1.0)
  state = jax.eval_shape(lambda: init_state(task, optimizer, seed=0, ema=0.0))
  params = jax.tree.map(jnp.asarray, small.variables(task))
  state = start_from(params, state._replace(step=jnp.int32(0), opt_state=optimizer.init(params["params"])))
  step = jax.jit(make_train_step(task, optimizer, seed=0, ema=0.0))
  for _ in range(240):
    state, sums = step(state, batch)
  assert step._cache_size() == 1
  assert all(np.isfinite(total) for total, _ in jax.device_get(sums).values())
  scores = task.accumulator()
  scores.update(jax.device_get(jax.jit(task.predict)({"params": state.params}, batch)), jax.device_get(batch))
  result = scores.result()
  assert min(result[name] for name in ("box_ap50", "mask_ap50", "box_ap50_agnostic", "mask_ap50_agnostic")) > 0.95
