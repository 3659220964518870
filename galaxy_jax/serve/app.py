"""The web application: the page, its programming interface and what they refuse.

Nothing that is sent is written anywhere. What a request must not be is answered with a status of its own and
{"error": …}; `uploads` and `answers` say what that is, `openapi` documents it.
"""
import json
import logging
import time
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import flask
import numpy as np
from werkzeug import exceptions

from galaxy_jax import uncertainty
from galaxy_jax.serve import answers, hosts, openapi, outlines, uploads, where
from galaxy_jax.serve.batching import Batcher, Full
from galaxy_jax.serve.uploads import USUAL, Limits
from tfds_builders.fits_files import is_fits

logger = logging.getLogger(__name__)

#: What a browser may do with anything that comes from here: load nothing from elsewhere, guess no types.
HEADERS = {"Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
           "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cross-Origin-Resource-Policy": "same-origin"}

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


class Application(flask.Flask):
  """A Flask application that keeps uploads in memory, and has threads to stop."""
  request_class = uploads.InMemory

  def close(self) -> None:
    """Answers what waits, and no more."""
    self.extensions["galaxy_jax"].close()


def create_app(model: Any, limits: Limits = USUAL, local: bool = True, finder: Any = None) -> Application:
  """The application that answers with a model, which it runs first, so that no request waits until it is compiled.

  Args:
    model: a predictor.
    limits: what a request may ask for.
    local: only this computer can reach it, so that it goes by no other name.
    finder: outlines the objects of the images, see finder.Finder; None: nothing does.
  """
  app = Application(__name__, static_folder=None)
  app.json.sort_keys = False
  app.config["MAX_CONTENT_LENGTH"] = limits.bytes
  service = app.extensions["galaxy_jax"] = _Service(app, model, limits, finder)
  for rule, view, method in (("/", service.page, "GET"), ("/static/<name>", service.file, "GET"),
                             ("/healthz", service.health, "GET"), ("/api/v1/model", service.about, "GET"),
                             ("/api/v1/openapi.json", service.specification, "GET"),
                             ("/api/v1/predict", service.predict, "POST"), ("/api/v1/table", service.table, "POST")):
    app.add_url_rule(rule, view.__name__, view, methods=[method])
  app.before_request(lambda: hosts.check(flask.request, local))
  app.register_error_handler(exceptions.HTTPException, _refused)
  app.after_request(_with_headers)
  return app


def _refused(error):
  """Any refusal as JSON; its headers, such as Allow and Retry-After, stay."""
  response = error.get_response()
  response.data = json.dumps({"error": error.description or error.name})
  response.content_type = "application/json"
  return response


def _with_headers(response):
  response.headers.update(HEADERS)
  response.headers.setdefault("Cache-Control", "no-store")
  return response


def _choice(name, default, allowed):
  """A parameter of the address, of a few allowed texts."""
  value = flask.request.args.get(name, default)
  if value not in allowed:
    raise exceptions.UnprocessableEntity(f"{name} is {value!r}; expected {' or '.join(allowed)}.")
  return value


class _Service:
  """What the addresses answer."""

  def __init__(self, app, model, limits, finder):
    self._model, self._limits, self._finder = model, limits, finder
    self._about = answers.about(model)
    if finder is not None:
      self._about["outlines"] = {"name": finder.name, "classes": list(finder.classes)}
    dark = np.zeros((limits.together, model.size, model.size, 3), np.uint8)
    empty, *_ = (model.answers(dark[:rows]) for rows in (0, 1, limits.together))
    self._schema = answers.schema(model, empty)
    self._specification = openapi.specification(model, limits, calibrated=empty.lower is not None, finder=finder)
    self._answering = Batcher(model.answers, rows=model.batch_size, waiting=limits.waiting)
    # A map is many looks at one image, and nobody waits for one who did not ask for it.
    self._explaining = Batcher(where.explainer(model), rows=1, waiting=8 * limits.explained)
    self._outlining = None
    if finder is not None:
      outlines.warm_up(finder)
      self._outlining = Batcher(finder.find, rows=finder.batch_size, waiting=limits.waiting)
    self._warming = self._explaining.submit(dark[:1])  # whoever asks for the first map waits for no more than this
    self._files = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in sorted(_STATIC.iterdir())
                   if path.suffix in _TYPES}
    examples = [name for name in self._files if name.startswith("example_")]
    with app.app_context():
      self._page = flask.render_template_string(
          (_STATIC / "page.html").read_text("utf-8"), about=self._about, limits=limits, examples=examples,
          calibrated=empty.lower is not None, novelty=empty.novelty is not None,
          level=uncertainty.SHOWN, trained_on=model.facts.get("trained on"))

  def close(self):
    self._warming.cancel()
    self._answering.close()
    self._explaining.close()
    if self._outlining is not None:
      self._outlining.close()

  def page(self):
    """The page itself."""
    return flask.Response(self._page, content_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

  def file(self, name):
    """What the page loads."""
    if name not in self._files:
      raise exceptions.NotFound("There is no such file.")
    data, kind = self._files[name]
    response = flask.Response(data, content_type=kind, headers={"Cache-Control": "no-cache"})
    response.add_etag()
    return response.make_conditional(flask.request)

  def health(self):
    """Whether images are answered."""
    alive = self._answering.alive and (self._outlining is None or self._outlining.alive)
    return {"status": "ok" if alive else "stopped", "model": self._model.name,
            "waiting": self._answering.waiting}, 200 if alive else 503

  def about(self):
    """What there is to know of the model."""
    return self._about | {"limits": self._limits._asdict()}

  def specification(self):
    """This interface, as OpenAPI."""
    return self._specification

  def predict(self):
    """What the model says of a request's images."""
    end = time.monotonic() + self._limits.seconds
    form = _choice("format", "json", ("json", *answers.FORMATS))
    with_view, with_maps = (_choice(name, "0", ("0", "1")) == "1" for name in ("view", "saliency"))
    outlined = self._finder is not None and _choice("objects", "1", ("0", "1")) == "1" and form == "json"
    given = uploads.read(flask.request, self._limits, end)
    if with_maps and len(given) > self._limits.explained:
      raise exceptions.RequestEntityTooLarge(f"The request has {len(given)} images; with saliency=1 "
                                             f"{self._limits.explained} are the most.")
    reader = outlines.Reader(self._model, self._finder if outlined else None)
    decoded = uploads.decoded(given, reader, self._limits, end)
    good = [number for number, pixels in enumerate(decoded) if not isinstance(pixels, str)]
    found = [{"id": upload.id, "error": pixels} for upload, pixels in zip(given, decoded, strict=True)]
    if not good:
      return {"error": found[0]["error"] + (f" Nor can any other of the {len(found)} be read." if found[1:] else ""),
              "results": found}, 400
    pixels = np.stack([decoded[number].pixels for number in good])
    jobs = []
    try:
      for batcher in (self._answering, *([self._explaining] if with_maps else [])):
        jobs.append(_queued(batcher, pixels))
      objects = self._objects([decoded[number].square for number in good], end) if outlined else []
      said, *maps = (self._answer(job, end) for job in jobs)
    finally:  # where one of them is refused or late, nobody waits for the other
      for job in jobs:
        job.cancel()
    for row, result in enumerate(answers.results(self._model, said, [given[number].id for number in good])):
      if with_view:
        result["view"] = answers.view(pixels[row])
      if maps:
        result["saliency"] = answers.saliency(self._model, maps[0], row)
      if objects:
        result |= outlines.described(decoded[good[row]].square, objects[row], self._finder.classes,
                                     upside_down=is_fits(given[good[row]].data))
      found[good[row]] = result
    if form != "json":
      return self._file_of(answers.table(self._schema, self._model.name, found), form)
    return {"model": self._model.name, "results": found}

  def table(self):
    """Results that this model gave, as the file of a table."""
    form = _choice("format", "csv", tuple(answers.FORMATS))
    uploads.check_length(flask.request, self._limits)
    if flask.request.mimetype != "application/json":
      raise exceptions.UnsupportedMediaType("The results are to come as application/json.")
    with uploads.alone(self._limits, time.monotonic() + self._limits.seconds):
      # Beside its numbers a result has words, and may have a map.
      body = uploads.read_json(flask.request, self._limits.results * (len(self._schema) + 150))
      if not isinstance(body, dict) or "results" not in body:
        raise exceptions.UnprocessableEntity('The JSON is to be {"results": [...]}, as /api/v1/predict gave them.')
      results = body["results"]
      if isinstance(results, list) and len(results) > self._limits.results:
        raise exceptions.RequestEntityTooLarge(f"The request has {len(results)} results, and {self._limits.results} "
                                               "are the most; send fewer at a time.")
      try:
        return self._file_of(answers.table(self._schema, self._model.name, results), form)
      except ValueError as error:
        raise exceptions.UnprocessableEntity(str(error)) from None

  def _objects(self, squares, end):
    """The objects of each square, of which no more wait at a time than a device call takes."""
    def ask(tiles):
      job = _queued(self._outlining, tiles)
      try:
        return self._answer(job, end)
      finally:
        job.cancel()
    return list(outlines.find(self._finder, squares, ask))

  def _answer(self, job, end):
    """A job's result; refuses where it fails or does not come in time."""
    try:
      return job.result(max(0.0, end - time.monotonic()))
    except (TimeoutError, CancelledError):
      raise uploads.late(self._limits) from None
    except Exception:  # the batcher has logged what it was
      raise exceptions.ServiceUnavailable("The model failed at these images or at others that came with them; the "
                                          "server's log says how. Try again.", retry_after=1) from None

  def _file_of(self, table, form):
    return flask.Response(answers.written(table, form), content_type=answers.FORMATS[form],
                          headers={"Content-Disposition": f'attachment; filename="galaxies.{form}"'})


def _queued(batcher, pixels):
  try:
    return batcher.submit(pixels)
  except Full as full:
    raise exceptions.ServiceUnavailable(f"The server is busy: {full}. Try again.", retry_after=1) from None
