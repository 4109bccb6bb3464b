"""What the service answers, as OpenAPI for programs and as a page for people."""

import html
from importlib.metadata import version
from typing import Any

from imagetrail.service.limits import Limits

Schema = dict[str, Any]
NUMBER, TEXT, YES = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
BINARY = {"type": "string", "format": "binary"}
EXAMPLES = (
    ("One picture", "curl --data-binary @shoe.jpg http://HOST:PORT/predict"),
    ("Several", "curl -F file=@shoe.jpg -F file=@coat.png http://HOST:PORT/predict"),
)


def openapi(limits: Limits) -> Schema:
    """The document, version 3.1."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "imagetrail serve",
            "version": version("imagetrail"),
            "description": "What is in pictures, with calibrated probabilities.",
        },
        "paths": {
            "/predict": {"post": _predict(limits)},
            "/health": {"get": _get("Whether the service answers", "application/json")},
            "/version": {"get": _get("The model, its classes and the limits", "application/json")},
            "/metrics": {"get": _get("Counts and times, for Prometheus", "text/plain")},
        },
        "components": {"schemas": {"Answers": _answers(), "Fault": _object(error=TEXT)}},
    }


def _predict(limits: Limits) -> Schema:
    statuses = {
        "400": "There is no picture in the request",
        "403": "Asked for by a name that the service does not have, or by a page elsewhere",
        "408": f"The request was not whole after {limits.seconds:g} seconds",
        "413": f"More than {limits.megabytes} megabytes",
        "503": "Too many requests wait, or the answer took too long: try again later",
    }
    form = {"type": "object", "properties": {"file": {"type": "array", "items": BINARY}}}
    return {
        "summary": "What is in a picture, or in several",
        "description": "The body is a picture file, or a form with "
        f"{limits.pictures} of them at most, whatever its fields are called.",
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/octet-stream": {"schema": BINARY},
            },
        },
        "responses": {
            "200": _response("An answer a picture that could be read", "Answers"),
            "422": _response("None of the pictures could be read", "Answers"),
            **{status: _response(text, "Fault") for status, text in statuses.items()},
        },
    }


def _answers() -> Schema:
    guess = _object(**{"class": TEXT, "probability": NUMBER})
    answered = {"file": TEXT, "class": TEXT, "probability": NUMBER, "unsure": YES}
    one = _object(**answered, top={"type": "array", "items": guess})
    refused = _object(file=TEXT, error=TEXT)
    return _object(
        answers={"type": "array", "items": {"oneOf": [one, refused]}}, milliseconds=NUMBER
    )


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": [*properties]}


def _response(text: str, schema: str) -> Schema:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": text, "content": content}


def _get(summary: str, kind: str) -> Schema:
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {kind: {}}}},
    }


def page(limits: Limits) -> str:
    """The same to read, without a script and without anything from elsewhere."""
    document = openapi(limits)
    parts = [
        _section(method, path, what)
        for path, methods in document["paths"].items()
        for method, what in methods.items()
    ]
    commands = "".join(
        f"<h2>{name}</h2><pre tabindex=0><code>{html.escape(command)}</code></pre>"
        for name, command in EXAMPLES
    )
    title, about = document["info"]["title"], document["info"]["description"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{title}</title><link rel="stylesheet" href="docs.css"><main><h1>{title}</h1>'
        f"<p>{html.escape(about)} For programs: "
        f'<a href="openapi.json">openapi.json</a>.</p>{commands}{"".join(parts)}</main></html>'
    )


def _section(method: str, path: str, what: Schema) -> str:
    text = f"{what['summary']}. {what.get('description', '')}"
    head = f"<h2><code>{method.upper()} {path}</code></h2><p>{html.escape(text)}</p>"
    if len(what["responses"]) == 1:
        return head
    rows = "".join(
        f"<tr><th scope=row>{status}<td>{html.escape(response['description'])}"
        for status, response in what["responses"].items()
    )
    return f"{head}<table><caption>Answers</caption>{rows}</table>"
