"""Which web pages may use this one: none but itself, whatever another page makes a browser send.

A page elsewhere can make a visitor's browser send a request here, and can let its own name lead here (DNS rebinding). A
browser tells both: by the header Origin of a POST, and by Host. Programs such as curl send no Origin.
"""
import ipaddress
from urllib.parse import urlsplit

from flask import Request
from werkzeug import exceptions


def is_local(host: str) -> bool:
  """Whether a name or an address, without a port, is this computer's own, which no other computer reaches."""
  try:
    return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
  except ValueError:
    return False


def check(request: Request, local: bool) -> None:
  """Refuses what another page sends.

  Args:
    request: of which the headers are looked at.
    local: the server listens to this computer alone, so that no other name can be right.

  Raises:
    Forbidden: the name in the request is another one, or a page of another origin sent it.
  """
  host = request.headers.get("Host")
  if local and host is not None and not is_local(_without_port(host)):
    raise exceptions.Forbidden(f"This server answers as localhost and 127.0.0.1, not as {host!r}; one that is started "
                               "with --host=0.0.0.0 answers to any name.")
  origin = request.headers.get("Origin")
  if request.method == "POST" and origin is not None and _named(origin) != (host or "").lower():
    raise exceptions.Forbidden(f"A page of {origin!r} may not use this server; its own page may, and programs.")


def _without_port(host):
  try:
    return urlsplit(f"//{host}").hostname or ""
  except ValueError:
    return ""


def _named(origin):
  """The host and port of an origin; None where it has none."""
  try:
    return urlsplit(origin).netloc.lower() or None
  except ValueError:
    return None
