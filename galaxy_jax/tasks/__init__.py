"""Problems, one a file: `Task` says what the training loop knows of one, TASKS names those there are."""
from galaxy_jax.tasks import votes
from galaxy_jax.tasks.task import Task

TASKS = {"votes": votes.make}

__all__ = ["TASKS", "Task"]
