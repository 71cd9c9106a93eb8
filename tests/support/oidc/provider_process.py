"""An OpenID Connect provider: one person, who is logged in there and agrees to everything, and every fault that a test
asks for with ``POST /control``. Prints its port.

Signs with PyJWT, so that the library that checks is another one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CLIENT, SECRET = "rafiki", "s3cret/with:signs"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class Keys:
    """Those in use; a rotation makes others."""

    def __init__(self) -> None:
        self.rotate("RS256")

    def rotate(self, algorithm: str) -> None:
        self.algorithm, self.kid = algorithm, secrets.token_hex(4)
        self.private: Any = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    @property
    def public_pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwks(self) -> dict[str, Any]:
        kind: Any = jwt.algorithms.ECAlgorithm if self.algorithm == "ES256" else jwt.algorithms.RSAAlgorithm
        key = json.loads(kind.to_jwk(self.private.public_key()))
        other = {"kty": "made-up", "kid": "other"}
        return {"keys": [other, {**key, "kid": self.kid, "use": "sig", "alg": self.algorithm}]}


class State:
    def __init__(self) -> None:
        self.keys = Keys()
        self.lock = threading.Lock()
        self.end = threading.Event()
        self.seen: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.devices: dict[str, dict[str, Any]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.reset()

    def reset(self) -> None:
        self.person: dict[str, Any] = {
            "sub": "42", "email": "ada@example.org", "email_verified": True, "groups": ["staff"],
        }  # fmt: skip
        self.only_in_userinfo: list[str] = []
        self.userinfo: dict[str, Any] = {}
        self.description: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        self.header: dict[str, Any] = {}
        self.sign_with = ""
        self.hang: list[str] = []
        self.drip: list[str] = []
        self.raw: dict[str, list[Any]] = {}
        self.is_public = False
        self.agrees = False
        """Whether the person agrees to a device before it asks."""
        self.is_fresh = False
        """Whether it is another person each time."""


STATE = State()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        self.serve({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        self.serve({"json": body} if self.path == "/control" else dict(parse_qsl(body)))

    def serve(self, form: dict[str, str]) -> None:
        path = urlsplit(self.path).path
        if path == "/control":
            self.control(json.loads(form["json"]))
            return
        STATE.seen.append(path)
        if path in STATE.hang:
            STATE.end.wait(60)
            self.close_connection = True
            return
        if path in STATE.drip:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for n in range(600):
                if STATE.end.wait(0.1):
                    break
                self.wfile.write(f"x-{n}: drip\r\n".encode())
            self.close_connection = True
            return
        if path in STATE.raw:
            status, text, headers = STATE.raw[path]
            self.send(status, text.encode() if isinstance(text, str) else b"[" + b" " * text, headers)
            return
        pages: dict[str, Any] = {
            "/.well-known/openid-configuration": self.describe, "/jwks": lambda _: self.send(200, STATE.keys.jwks()),
            "/authorize": self.authorize, "/token": self.token, "/device": self.approve,
            "/device_authorization": self.device, "/userinfo": self.user_info,
        }  # fmt: skip
        query = dict(parse_qsl(urlsplit(self.path).query))
        page = pages.get(path)
        if page is None:
            self.send(404, {"error": "not_found"})
        else:
            page({**query, **form})

    def control(self, change: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"seen": list(STATE.seen)}
        if change.pop("reset", False):
            STATE.reset()
            STATE.seen.clear()
        if change.pop("let_go", False):
            STATE.end.set()
            STATE.end = threading.Event()
        if algorithm := change.pop("rotate", None):
            STATE.keys.rotate(algorithm)
        for name, value in change.items():
            setattr(STATE, name, value)
        self.send(200, answer)

    # ---- the pages of the specifications

    def describe(self, _: dict[str, str]) -> None:
        names = {
            "authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks",
            "device_authorization_endpoint": "/device_authorization", "userinfo_endpoint": "/userinfo",
        }  # fmt: skip
        found = {"issuer": self.issuer, **{name: self.issuer + path for name, path in names.items()}}
        self.send(200, {k: v for k, v in {**found, **STATE.description}.items() if v is not None})

    def authorize(self, query: dict[str, str]) -> None:
        host = urlsplit(query["redirect_uri"]).hostname
        is_right = (
            query["client_id"] == CLIENT and query["response_type"] == "code" and host in ("127.0.0.1", "::1")
            and query["code_challenge_method"] == "S256" and len(query["code_challenge"]) == 43
            and len(query["state"]) >= 32 and len(query["nonce"]) >= 32 and "openid" in query["scope"].split()
        )  # fmt: skip
        if not is_right:
            self.send(400, {"error": "invalid_request", "query": query})
            return
        code = secrets.token_urlsafe(16)
        STATE.codes[code] = query
        back = urlencode({"code": code, "state": query["state"], "session_state": "more"})
        self.send(302, b"", {"location": f"{query['redirect_uri']}?{back}"})

    def is_client(self, form: dict[str, str]) -> bool:
        if STATE.is_public:
            return form.get("client_id") == CLIENT and "client_secret" not in form
        kind, _, sent = self.headers.get("authorization", "").partition(" ")
        if kind != "Basic":
            return form.get("client_id") == CLIENT and form.get("client_secret") == SECRET
        name, _, secret = base64.b64decode(sent).decode().partition(":")
        return (unquote(name), unquote(secret)) == (CLIENT, SECRET)

    def token(self, form: dict[str, str]) -> None:
        if not self.is_client(form):
            self.send(401, {"error": "invalid_client"})
            return
        if form["grant_type"] == DEVICE:
            self.device_token(form["device_code"])
            return
        with STATE.lock:
            asked = STATE.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            asked is None or form["redirect_uri"] != asked["redirect_uri"]
            or challenge.decode().rstrip("=") != asked["code_challenge"]
        ):  # fmt: skip
            self.send(400, {"error": "invalid_grant"})
            return
        self.give(asked["nonce"])

    def device(self, form: dict[str, str]) -> None:
        if not self.is_client(form):
            self.send(401, {"error": "invalid_client"})
            return
        code, user_code = secrets.token_urlsafe(16), f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper()
        STATE.devices[code] = {"user_code": user_code, "is_approved": STATE.agrees or None}
        self.send(
            200,
            {
                "device_code": code,
                "user_code": user_code,
                "verification_uri": f"{self.issuer}/device",
                "verification_uri_complete": f"{self.issuer}/device?user_code={user_code}",
                "expires_in": 600,
                "interval": 1,
            },
        )

    def approve(self, query: dict[str, str]) -> None:
        for device in STATE.devices.values():
            if device["user_code"] == query["user_code"]:
                device["is_approved"] = query.get("decision", "yes") == "yes"
        self.send(200, {})

    def device_token(self, code: str) -> None:
        device = STATE.devices.get(code)
        if device is None or device["is_approved"] is None:
            self.send(400, {"error": "authorization_pending" if device else "expired_token"})
        elif not device["is_approved"]:
            self.send(400, {"error": "access_denied"})
        else:
            del STATE.devices[code]
            self.give(None)

    def give(self, nonce: str | None) -> None:
        now, access_token = int(time.time()), secrets.token_urlsafe(16)
        if STATE.is_fresh:
            name = secrets.token_hex(4)
            STATE.person |= {"sub": name, "email": f"{name}@example.org"}
        person = {k: v for k, v in STATE.person.items() if k not in STATE.only_in_userinfo}
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, **person}
        claims["at_hash"] = base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()[:16]).decode()[:-2]
        claims |= {} if nonce is None else {"nonce": nonce}
        claims = {k: v for k, v in {**claims, **STATE.claims}.items() if v is not None}
        STATE.tokens[access_token] = {**STATE.person, **STATE.userinfo}
        answer = {"token_type": "Bearer", "access_token": access_token, "id_token": sign(claims)}
        self.send(200, answer, {"cache-control": "no-store"})

    def user_info(self, _: dict[str, str]) -> None:
        found = STATE.tokens.get(self.headers.get("authorization", "").removeprefix("Bearer "))
        self.send(401, {"error": "invalid_token"}) if found is None else self.send(200, found)


def encoded(value: Any) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def sign(claims: dict[str, Any]) -> str:
    keys = STATE.keys
    headers = {k: v for k, v in {"kid": keys.kid, **STATE.header}.items() if v is not None}
    if STATE.sign_with == "none":
        return b".".join((encoded({"alg": "none", **headers}), encoded(claims), b"")).decode()
    if STATE.sign_with == "HS256":
        # The old trick: the public key, which everybody has, as the secret of an HMAC.
        signed = b".".join((encoded({"alg": "HS256", **headers}), encoded(claims)))
        mac = hmac.new(keys.public_pem, signed, hashlib.sha256).digest()
        return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()
    key = keys.private
    if STATE.sign_with == "another key":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, key, algorithm=keys.algorithm, headers=headers)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=lambda: (sys.stdin.read(), STATE.end.set(), server.shutdown()), daemon=True).start()
    print(server.server_address[1], flush=True)
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
