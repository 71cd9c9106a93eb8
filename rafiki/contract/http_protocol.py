"""The HTTP protocol of both servers."""

from __future__ import annotations

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rafiki.contract.refusal import refusal_body
from rafiki.errors import InvalidRequestError


class RefusingProtocol(HttpToolsProtocol):
    """As uvicorn's with httptools, but what is no HTTP gets a refusal of the same form as all others."""

    def send_400_response(self, msg: str) -> None:
        body = refusal_body(
            InvalidRequestError("This is no valid HTTP request: its first line, a header or its length.")
        )
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self.transport.write(head + b"connection: close\r\n\r\n" + body)
        self.transport.close()
