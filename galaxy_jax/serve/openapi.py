"""The programming interface as an OpenAPI 3.1 document, for this model and these limits."""
from typing import Any

import galaxy_jax
from galaxy_jax.serve import answers, outlines
from galaxy_jax.serve.uploads import IMAGE_TYPES, Limits
from galaxy_jax.serve.where import GRID
from tfds_builders.gz2_tree import QUESTIONS

_REASONS = {
    400: "No image was given, none of those given can be read, or the body is no JSON.",
    403: "The Host is another than this server's, or a page of another Origin asks.",
    411: "The request does not say how long it is.",
    413: "Too many bytes, images or results.",
    415: "The body is of a type that holds no images.",
    422: "A parameter, or the JSON, is not what is described here.",
    503: "Too many images or bytes wait, or the answer took too long; Retry-After says when to try again.",
}


def specification(model: Any, limits: Limits, *, calibrated: bool, finder: Any = None) -> dict[str, Any]:
  """The document.

  Args:
    model: a predictor.
    limits: what a request may ask for.
    calibrated: whether answers come with intervals.
    finder: outlines objects; None: nothing does.
  """
  image = {"type": "string", "format": "binary"}
  bodies = {
      "multipart/form-data": {"schema": {
          "type": "object", "required": ["images"],
          "properties": {"images": {"type": "array", "minItems": 1, "maxItems": limits.images, "items": image}}}},
      "application/json": {"schema": {
          "type": "object", "required": ["images"], "additionalProperties": False,
          "properties": {"images": {"type": "array", "minItems": 1, "maxItems": limits.images,
                                    "items": {"type": "string", "contentEncoding": "base64"}}}}},
      **{kind: {"schema": image} for kind in IMAGE_TYPES}}
  tables = {kind: {"schema": image} for kind in answers.FORMATS.values()}
  found = {"type": "object", "required": ["results"], "properties": {
      "model": {"type": "string"}, "results": {"type": "array", "items": _of("Result")}}}
  return {
      "openapi": "3.1.0",
      "info": {"title": f"galaxy_jax: {model.name}", "version": galaxy_jax.__version__,
               "description": "What a trained model says of images of galaxies. Nothing that is sent is stored."},
      "paths": {
          "/api/v1/predict": {"post": {
              "operationId": "predict", "summary": "What the model says of images",
              "description": f"At most {limits.images} images of {limits.pixels} pixels each and {limits.bytes} bytes "
                             "in all. An image that cannot be read has an error in the place of its answer."
                             + (f" Objects are those that the model {finder.name} finds." if finder else ""),
              "parameters": [
                  _parameter("format", ["json", *answers.FORMATS], "json", "Of the answer."),
                  _parameter("view", ["0", "1"], "0", "1: with what the model saw, a JPEG in base64."),
                  _parameter("saliency", ["0", "1"], "0", "1: with where the leading answer was found; of at most "
                             f"{limits.explained} images."),
                  *([_parameter("objects", ["0", "1"], "1", "0: without the objects found in the images.")]
                    if finder else [])],
              "requestBody": {"required": True, "content": bodies},
              "responses": {"200": {"description": "The answers, in the order of the images.", "content": {
                  "application/json": {"schema": found}, **tables}}, **_refusals(400, 403, 411, 413, 415, 422, 503)}}},
          "/api/v1/table": {"post": {
              "operationId": "table", "summary": "Answers of this model as a table",
              "description": f"At most {limits.results} results and {limits.bytes} bytes in all.",
              "parameters": [_parameter("format", list(answers.FORMATS), "csv", "Of the table.")],
              "requestBody": {"required": True, "content": {"application/json": {"schema": found}}},
              "responses": {"200": {"description": "A row for each galaxy.", "content": tables},
                            **_refusals(400, 403, 411, 413, 415, 422, 503)}}},
          "/api/v1/model": {"get": {
              "operationId": "about", "summary": "What there is to know of the model",
              "responses": {"200": _json("Its name, outputs, decision tree and origin.", {"type": "object"}),
                            **_refusals(403)}}},
          "/api/v1/openapi.json": {"get": {
              "operationId": "specification", "summary": "This document",
              "responses": {"200": _json("OpenAPI 3.1.", {"type": "object"}), **_refusals(403)}}},
          "/healthz": {"get": {
              "operationId": "health", "summary": "Whether images are answered",
              "responses": {"200": _json("They are.", _of("Health")), "503": _json("They are not.", _of("Health")),
                            **_refusals(403)}}},
      },
      "components": {"schemas": {
          "Error": {"type": "object", "required": ["error"], "properties": {
              "error": {"type": "string"}, "results": {"type": "array", "items": _of("Result")}}},
          "Health": {"type": "object", "required": ["status", "model", "waiting"], "properties": {
              "status": {"enum": ["ok", "stopped"]}, "model": {"type": "string"}, "waiting": {"type": "integer"}}},
          "Result": _result(model, calibrated, finder)}},
  }


def _result(model, calibrated, finder):
  """A galaxy's answers, or why there are none."""
  number = {"type": ["number", "null"]}
  columns = {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(model.columns, number)}
  bounds = columns if calibrated else {"type": "null"}
  if model.task == "votes":
    said = {"fractions": columns, "low": bounds, "high": bounds,
            "asked": {"type": "array", "items": {"enum": [question.name for question in QUESTIONS]}},
            "description": {"type": "string"}, "gz2_class": {"type": "string"}}
  else:
    said = {"probabilities": columns, "predicted": {"enum": list(model.columns)}}
  saliency = {"type": "object", "required": ["answer", "fall", "map"], "properties": {
      "answer": {"enum": list(model.columns)}, "fall": number,
      "map": {"type": "array", "minItems": GRID, "maxItems": GRID, "items": {
          "type": "array", "minItems": GRID, "maxItems": GRID,
          "items": {"type": "integer", "minimum": 0, "maximum": 100}}}}}
  return {"type": "object", "required": ["id"], "additionalProperties": False, "properties": {
      "id": {"type": "string"}, "error": {"type": "string"}, **said,
      "novelty": number | {"description": "How unlike the galaxies that the model knows it is; 1 is reached by one in "
                                          "a hundred of them. null where that was not measured."},
      "view": {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/jpeg"},
      "saliency": saliency, **(outlines.schema(finder.classes) if finder else {})}}


def _of(name):
  return {"$ref": f"#/components/schemas/{name}"}


def _json(words, schema):
  return {"description": words, "content": {"application/json": {"schema": schema}}}


def _parameter(name, values, default, words):
  return {"name": name, "in": "query", "required": False, "description": words,
          "schema": {"type": "string", "enum": values, "default": default}}


def _refusals(*statuses):
  refusals = {str(status): _json(_REASONS[status], _of("Error")) for status in statuses}
  if "503" in refusals:
    refusals["503"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
  return refusals
