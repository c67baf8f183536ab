"""The HTTP API of the gateway: requests to functions, payload format 2.0."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from realtime_kit.emulators.apigateway import answers, documents
from realtime_kit.emulators.apigateway.documents import Api
from realtime_kit.emulators.apigateway.functions import Function
from realtime_kit.emulators.apigateway.protocol import raw_headers, split_path
from realtime_kit.emulators.apigateway.routes import DEFAULT, HttpRoutes
from realtime_kit.emulators.apigateway.runtime import Runtime


class HttpApi:
    """Its stage is `$default`, so nothing precedes the paths of `routes`."""

    def __init__(self, runtime: Runtime, routes: Mapping[str, Function]) -> None:
        self._runtime = runtime
        self._functions = dict(routes)
        self._routes = HttpRoutes(routes)
        self._id = runtime.ids.api()

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _ = split_path(request)
        self._runtime.usage.http_requests += 1
        answer = await self._answer(request)
        self._runtime.record("http", method=request.method, path=path, status=answer.status)
        response = web.Response(status=answer.status, body=answer.body)
        for name, value in answer.headers:
            if name.lower() == "content-type":
                response.headers[name] = value
            elif name.lower() != "content-length":
                response.headers.add(name, value)
        return response

    async def _answer(self, request: web.BaseRequest) -> answers.HttpAnswer:
        runtime = self._runtime
        path, query = split_path(request)
        if not runtime.admit():
            return answers.http_error(429, answers.TOO_MANY)
        match = self._routes.match(request.method, path)
        if match is None:
            return answers.http_error(404, "Not Found")
        now = runtime.timeline.time()
        event = documents.http_event(
            Api(self._id, DEFAULT, runtime.api.domain),
            route_key=match.key,
            method=request.method,
            path=path,
            query=query,
            protocol=f"HTTP/{request.version.major}.{request.version.minor}",
            headers=raw_headers(request),
            body=await request.read(),
            source_ip=request.remote or "",
            parameters=match.parameters,
            request_id=runtime.ids.short(),
            trace=runtime.ids.trace(now),
            now=now,
        )
        return answers.http_answer(await runtime.invoke(self._functions[match.key], event))
