"""The web server: waitress, which keeps what it receives in memory and refuses in JSON, as the application does."""
import json
from typing import Any

import waitress
from waitress import channel, task

from galaxy_jax.serve.app import HEADERS
from galaxy_jax.serve.uploads import USUAL, Limits

#: Requests that are answered at a time: they wait for one another's images, so that a batch fills.
THREADS = 32
#: Connections, each of which may hold a request's bytes.
CONNECTIONS = 128
#: Seconds until a connection that sends nothing is closed.
SILENCE = 30


class _Refusal(task.ErrorTask):
  """What waitress answers to what is no request, or too long a one, before the application sees it."""

  def execute(self):
    error = self.request.error
    body = json.dumps({"error": f"{error.reason}: {error.body}."}).encode()
    self.status = f"{error.code} {error.reason}"
    self.response_headers.extend([("Content-Type", "application/json"), *HEADERS.items()])
    self.set_close_on_finish()
    self.content_length = len(body)
    self.write(body)


class _Channel(channel.HTTPChannel):
  error_task_class = _Refusal


def bind(app: Any, host: str, port: int, limits: Limits = USUAL) -> tuple[Any, str]:
  """A server that listens; its `run` serves until the program is interrupted.

  Args:
    app: the application.
    host: a name or an address of this computer.
    port: 0 for any that is free.
    limits: what a request may ask for.

  Returns:
    The server, and its address for a browser.

  Raises:
    ValueError: it cannot listen there.
  """
  sockets = {}
  try:
    # Bodies and answers beyond these sizes would go into files.
    server = waitress.create_server(
        app, map=sockets, host=host, port=port, threads=THREADS, connection_limit=CONNECTIONS, channel_timeout=SILENCE,
        max_request_body_size=limits.bytes + 1, inbuf_overflow=2 * limits.bytes, outbuf_overflow=2**40, ident=None)
  except (OSError, OverflowError, ValueError) as error:
    raise ValueError(f"--host={host} --port={port} cannot be listened at ({error}); give another --port, or an "
                     "address of this computer.") from error
  for listening in sockets.values():
    listening.channel_class = _Channel
  name, port = server.effective_listen[0] if hasattr(server, "effective_listen") else (
      server.effective_host, server.effective_port)
  return server, f"http://{f'[{name}]' if ':' in name else name}:{port}/"
