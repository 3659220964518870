from tensorboardX.proto.event_pb2 import Event

from galaxy_jax.logbook import Logbook, read_history


def test_a_resumed_run_writes_no_step_twice(tmp_path):
  with Logbook(tmp_path) as book:
    for step in (1, 2, 3):
      book.write(step, {"train/loss": step / 3, "learning_rate": 0.1})
  with open(tmp_path / "metrics.csv", "a") as file:
    file.write("4,train/lo")  # a kill in the middle of a line
  with Logbook(tmp_path, resume_step=2) as book:
    book.write(3, {"train/loss": 9.0})
  history = read_history(tmp_path / "metrics.csv")
  assert history == {"train/loss": [(1, 1 / 3), (2, 2 / 3), (3, 9.0)], "learning_rate": [(1, 0.1), (2, 0.1)]}


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
  with Logbook(tmp_path) as book:
    book.write(5, {"eval/rmse": 0.25})
  [path] = (tmp_path / "tensorboard").iterdir()
  data, found = path.read_bytes(), []
  while data:  # TFRecord framing: length, its CRC, the event, its CRC
    length = int.from_bytes(data[:8], "little")
    event = Event.FromString(data[12:12 + length])
    found += [(event.step, value.tag, value.simple_value) for value in event.summary.value]
    data = data[12 + length + 4:]
  assert found == [(5, "eval/rmse", 0.25)]


def test_other_processes_write_nothing(tmp_path):
  with Logbook(tmp_path, active=False) as book:
    book.write(1, {"a": 1.0})
  assert not list(tmp_path.iterdir())
