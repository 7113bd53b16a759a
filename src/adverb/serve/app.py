"""The application: routes, their description, errors as sentences, the page's files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

import adverb
from adverb.serve import bodies, watch
from adverb.serve.batcher import Batcher
from adverb.serve.guard import Guard
from adverb.serve.limits import Limits, Refused
from adverb.serve.meters import Meters
from adverb.serve.models import Models
from adverb.serve.sentences import sentence
from adverb.serve.service import Service

PAGE = Path(__file__).with_name("page")
ERRORS = {
    401: "no API key, or a wrong one",
    403: "the request was meant for another server",
    404: "no such model",
    408: "the request took too long to arrive",
    413: "the request, a text, or their number is too large",
    422: "the body is not JSON, or not what the route takes",
    429: "the queue is full: try again after as many seconds as Retry-After says",
    500: "the model or the server failed",
    503: "the server is shutting down",
    504: "no answer in time",
}


def create_app(
    models: Models,
    *,
    key: str | None = None,
    hosts: Collection[str] | None = None,
    limits: Limits = Limits(),
    draining: Callable[[], bool] = lambda: False,
) -> FastAPI:
    """key, hosts, draining: see `guard.Guard`."""
    meters = Meters()

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI):
        app.state.batcher = Batcher(limits, meters)
        app.state.service = Service(models, app.state.batcher)
        following = asyncio.create_task(models.follow_runs())
        yield
        following.cancel()
        await asyncio.to_thread(app.state.batcher.close)

    app = FastAPI(
        title="adverb",
        version=adverb.__version__,
        description='Answers of saved models. Errors are one sentence, `{"error": "…"}`.',
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    _errors(app)
    _routes(app)
    _state(app, models, meters, draining)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(Guard, limits=limits, meters=meters, key=key, hosts=hosts, draining=draining)
    return app


def _errors(app: FastAPI) -> None:
    def say(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": text}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError):
        field = getattr(request.scope.get("route"), "body_field", None)
        known = list(field.field_info.annotation.model_fields) if field else []
        return say(*sentence(error.errors(), known))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused):
        return say(error.status, error.sentence, error.headers)

    @app.exception_handler(HTTPException)
    async def of_the_framework(request: Request, error: HTTPException):
        sentences = {
            400: (422, "the body is not JSON"),
            404: (404, f"there is nothing at {request.url.path}: /openapi.json says what there is"),
            405: (405, f"{request.url.path} does not take {request.method}"),
        }
        status, text = sentences.get(error.status_code, (error.status_code, str(error.detail)))
        return say(status, text, error.headers)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": bodies.Error, "description": ERRORS[status]} for status in statuses}


def _routes(app: FastAPI) -> None:
    """What is asked of models."""

    def route(path: str, answers: Any, summary: str, **options: Any):
        return app.post(path, response_model=answers, summary=summary, responses=_refusals(*ERRORS), **options)

    def service(request: Request) -> Service:
        return request.app.state.service

    @route("/classify", bodies.Said, "The classes of texts")
    async def classify(request: Request, asked: bodies.Classify):
        return JSONResponse(await service(request).classify(asked))

    @route("/explain", bodies.Explained, "The words that carried a text's class")
    async def explain(request: Request, asked: bodies.Explain):
        return JSONResponse(await service(request).explain(asked))

    @route("/entities", bodies.Said, "The entities in texts")
    async def entities(request: Request, asked: bodies.Entities):
        return JSONResponse(await service(request).entities(asked))

    @route("/answer", bodies.Said, "Answers to questions, from texts")
    async def answer(request: Request, asked: bodies.Answer):
        return JSONResponse(await service(request).answer(asked))

    @route("/fill-mask", bodies.Said, "What fills the masks of texts")
    async def fill_mask(request: Request, asked: bodies.FillMask):
        return JSONResponse(await service(request).fill_mask(asked))

    @route("/embed", bodies.Said, "Vectors of texts")
    async def embed(request: Request, asked: bodies.Embed):
        return JSONResponse(await service(request).embed(asked))

    @route("/v1/embeddings", bodies.Vectors, "Vectors of texts, in the shape of OpenAI's API")
    async def embeddings(request: Request, asked: bodies.Embeddings):
        model, vectors, tokens = await service(request).embeddings(asked)
        if asked.encoding_format == "base64":
            vectors = [base64.b64encode(np.array(vector, "<f4").tobytes()).decode() for vector in vectors]
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "data": data, "model": model, "usage": usage})

    picture = {200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}

    @app.post("/generate", response_model=bodies.Images, summary="Images", responses=picture | _refusals(*ERRORS))
    async def generate(request: Request, asked: bodies.Generate):
        found = await service(request).draw(asked)
        return Response(found, media_type="image/png") if asked.format == "png" else JSONResponse(found)

    @route("/walk", bodies.Images, "The way from one image to another")
    async def walk(request: Request, asked: bodies.Walk):
        return JSONResponse(await service(request).draw(asked))

    @route("/write", bodies.Written, "New texts")
    async def write(request: Request, asked: bodies.Write):
        return JSONResponse(await service(request).write(asked))


def _state(app: FastAPI, models: Models, meters: Meters, draining: Callable[[], bool]) -> None:
    """What is asked of the server itself, and of runs."""
    plain, unlocked = _refusals(401, 403, 503, 504), _refusals(403, 503, 504)

    @app.get("/", include_in_schema=False)
    async def page():
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    @app.get("/models", response_model=bodies.Models, responses=plain, summary="What there is")
    async def list_models():
        return {"models": [served.facts() for served in models.served.values()]}

    @app.get("/runs/{name}", response_model=bodies.RunFacts, responses=plain | _refusals(404, 422), summary="A run now")
    async def run(name: str):
        return JSONResponse(await asyncio.to_thread(watch.look, name, models.run(name)))

    @app.get(
        "/runs/{name}/samples/{step}",
        response_class=Response,
        responses=plain | _refusals(404, 422) | {200: {"content": {"image/png": {}}}},
        summary="What a run drew at a step",
    )
    async def samples(name: str, step: int):
        return Response(await asyncio.to_thread(watch.picture, models.run(name), step), media_type="image/png")

    @app.get("/healthz", response_model=bodies.State, summary="Whether the process lives")
    async def health():
        return {"status": "ok"}

    @app.get("/readyz", response_model=bodies.State, responses=unlocked, summary="Whether to send requests")
    async def ready(request: Request):
        if draining() or not request.app.state.batcher.thread.is_alive():
            raise Refused(503, "the server is shutting down")
        return {"status": "ready"}

    @app.get("/metrics", response_class=Response, responses=plain | {200: {"content": {"text/plain": {}}}},
             summary="Counters, for Prometheus")  # fmt: skip
    async def metrics():
        return Response(meters.text(), media_type="text/plain; version=0.0.4")
