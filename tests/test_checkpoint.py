import numpy as np
import pytest

from galaxy_jax.checkpoint import Checkpoints


def state(value):
  return {"a": np.full((2, 3), value, np.float32), "b": {"c": np.arange(4)}}


def test_the_latest_and_the_best_stay(tmp_path):
  with Checkpoints(tmp_path, keep=2, best="rmse") as checkpoints:
    for step, score in ((1, 0.3), (2, 0.1), (3, 0.2), (4, None), (5, 0.4)):
      checkpoints.save(step, state(step), {"step": step}, score and {"rmse": score, "other": 1.0})
    checkpoints.wait()
    assert (checkpoints.latest, checkpoints.best) == (5, 2)
    restored, meta = checkpoints.restore(state(0), checkpoints.best)
    np.testing.assert_array_equal(restored["a"], 2)
    assert meta == {"step": 2}
  assert sorted(int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()) == [2, 4, 5]
  with Checkpoints(tmp_path, best="rmse") as again:
    assert (again.latest, again.best) == (5, 2)
    np.testing.assert_array_equal(again.restore(state(0))[0]["b"]["c"], np.arange(4))


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(7, state(1), {})
    checkpoints.wait()
    with pytest.raises(ValueError, match=r"7 is of another model: a: \(2, 3\) stored, \(2, 4\) expected"):
      checkpoints.restore(state(0) | {"a": np.zeros((2, 4), np.float32)})
    with pytest.raises(FileNotFoundError, match=r"step 8 in .*; there are \[7\]"):
      checkpoints.restore(state(0), 8)


def test_an_empty_folder_has_none(tmp_path):
  with Checkpoints(tmp_path / "new", best="rmse") as checkpoints:
    assert checkpoints.latest is None
    assert checkpoints.best is None
    with pytest.raises(FileNotFoundError, match="there are none"):
      checkpoints.restore(state(0))
