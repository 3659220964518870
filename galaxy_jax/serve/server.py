"""The web server: waitress, which keeps what it receives in memory and refuses in JSON, as the application does."""
import json
import threading
from functools import partial
from typing import Any

import waitress
from waitress import channel, parser, task, utilities

from galaxy_jax.serve.app import HEADERS
from galaxy_jax.serve.uploads import USUAL, Limits

#: Requests that are answered at a time: they wait for one another's images, so that a batch fills.
THREADS = 32
#: Connections, whether they ask for anything or not.
CONNECTIONS = 128
#: The bodies in memory together have the bytes of so many of the largest, 256 MiB with the usual limits; with the
#: copies that are made while they are taken apart that is three times as much.
LARGEST_BODIES = 8
#: Seconds until a connection that sends nothing is closed.
SILENCE = 30


class _Refusal(task.ErrorTask):
  """What waitress answers to what is no request, or too long a one, before the application sees it."""

  def execute(self):
    error = self.request.error
    body = json.dumps({"error": f"{error.reason}: {error.body}."}).encode()
    self.status = f"{error.code} {error.reason}"
    self.response_headers.extend([("Content-Type", "application/json"), *HEADERS.items()])
    if error.code == 503:
      self.response_headers.append(("Retry-After", "1"))
    self.set_close_on_finish()
    self.content_length = len(body)
    self.write(body)


class _Full(utilities.Error):
  code, reason = 503, "Service Unavailable"


class _Room:
  """The bytes that there is room for."""

  def __init__(self, size):
    self._free, self._lock = size, threading.Lock()

  def change(self, by):
    """Takes bytes (below 0) or gives them back; whether there was room."""
    with self._lock:
      if self._free + by < 0:
        return False
      self._free += by
      return True


class _Request(parser.HTTPRequestParser):
  """A request that takes room for its body as soon as its length is known, until it is answered."""

  def __init__(self, room, adj):
    super().__init__(adj)
    self._room, self._taken = room, 0

  def parse_header(self, header_plus):
    super().parse_header(header_plus)
    most = self.adj.max_request_body_size
    size = most if self.chunked else self.content_length if self.content_length < most else 0  # longer: refused anyway
    if self._room.change(-size):
      self._taken = size
    else:
      self.error = _Full("the server holds as many bytes as it can; try again")
      self.body_rcv, self.content_length, self.chunked, self.expect_continue = None, 0, False, False

  def close(self):
    super().close()
    self._room.change(self._taken)
    self._taken = 0


class _Channel(channel.HTTPChannel):
  error_task_class = _Refusal

  def handle_close(self):
    super().handle_close()
    if self.request is not None:  # one that never came whole
      self.request.close()


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
  requests = partial(_Request, _Room(LARGEST_BODIES * (limits.bytes + 1)))
  for listening in sockets.values():
    listening.channel_class = type("_Channel", (_Channel,), {"parser_class": requests})
  name, port = server.effective_listen[0] if hasattr(server, "effective_listen") else (
      server.effective_host, server.effective_port)
  return server, f"http://{f'[{name}]' if ':' in name else name}:{port}/"
