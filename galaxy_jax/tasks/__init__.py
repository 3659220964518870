"""Problems, one a file: `Task` says what the training loop knows of one, TASKS names those there are."""
from galaxy_jax.tasks import classes, instances, votes
from galaxy_jax.tasks.task import Task

TASKS = {"votes": votes.make, "classes": classes.make, "instances": instances.make}

__all__ = ["TASKS", "Task"]
