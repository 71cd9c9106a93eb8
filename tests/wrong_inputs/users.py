"""Users and tokens."""

from __future__ import annotations

from typing import Any

from wrong_inputs.table import RawRequest, Request, Row, delete, get, post, row, without

INVALID, UNAUTHORIZED = "InvalidRequestError", "UnauthorizedError"
EMAILS: dict[str, Any] = {
    "empty": "", "without @": "x", "without a host": "x@", "without a name": "@y", "with a space": "a b@c",
    "with two @": "a@b@c", "with a line break": "a@b\n", "with a control character": "a\x01@b", "with NUL": "a\0@b",
    "that turns the text around": "a@b\u202e", "with an invisible character": "a\u200b@b", "too long": "a" * 400 + "@b",
}  # fmt: skip


def user(**fields: Any) -> Request:
    """A new user; ``...`` leaves a field out."""
    good = {"email": "somebody@rafiki", "password": "an old secret", "user_type": "APP_DEVELOPER"}
    return post("/users", without({**good, **fields}))


def token(**fields: Any) -> Request:
    return post("/tokens", without({"email": "<developer>", "password": "a password", **fields}))


ROWS: list[Row] = [
    # ---- new users
    row("users: without an email", "superadmin", user(email=...), 400, INVALID, "'email' is missing"),
    row("users: without a password", "superadmin", user(password=...), 400, INVALID, "'password' is missing"),
    row("users: without a type", "superadmin", user(user_type=...), 400, INVALID, "'user_type' is missing"),
    row("users: unknown field", "superadmin", user(colour="red"), 400, INVALID, "'colour'",
        "email, is_typed, password, user_type"),
    row("users: 20,000 unknown fields", "superadmin", user(**{f"f{i}": 1 for i in range(20_000)}), 400, INVALID,
        "'f0'"),
    row("users: empty password", "superadmin", user(password=""), 400, INVALID, "'password'", "empty"),
    row("users: number as password", "superadmin", user(password=12345678), 400, INVALID, "'password'", "`int`"),
    row("users: null as password", "superadmin", user(password=None), 400, INVALID, "'password'", "`null`"),
    row("users: half a surrogate pair as password", "superadmin", user(password="\ud800"), 400, INVALID, "body"),
    row("users: unknown type", "superadmin", user(user_type="KING"), 400, INVALID, "'user_type'", "'KING'"),
    row("users: type in lower case", "superadmin", user(user_type="admin"), 400, INVALID, "'user_type'", "'admin'"),
    row("users: null as type", "superadmin", user(user_type=None), 400, INVALID, "'user_type'", "`null`"),
    row("users: number as type", "superadmin", user(user_type=1), 400, INVALID, "'user_type'", "`int`"),
    row("users: type as long as a book", "superadmin", user(user_type="K" * 99_999), 400, INVALID, "'user_type'"),
    *(
        row(f"users: email {what}", "superadmin", user(email=email), 400, INVALID, "'email'", "no email address")
        for what, email in EMAILS.items()
    ),
    *(
        row(f"users: {kind} as email", "superadmin", user(email=value), 400, INVALID, "'email'", "`str`", f"`{kind}`")
        for kind, value in {"int": 1, "null": None, "bool": True, "array": ["a@b"], "object": {"a": "b"}}.items()
    ),
    row("users: email is taken", "superadmin", user(email="<developer>"), 409, "UserExistsError", "<developer>"),
    row("users: email in capitals is taken", "superadmin", user(email="SuperAdmin@Rafiki"), 409, "UserExistsError",
        "SuperAdmin@Rafiki"),
    row("users: email of a banned user is taken", "admin", user(email="<banned>"), 409, "UserExistsError", "<banned>"),
    row("users: another superadmin", "superadmin", user(user_type="SUPERADMIN"), 403, UNAUTHORIZED, "one superadmin"),
    row("users: an admin by an admin", "admin", user(user_type="ADMIN"), 403, UNAUTHORIZED, "Only the superadmin"),
    row("users: by a model developer", "developer", user(), 403, UNAUTHORIZED, "ADMIN, SUPERADMIN", "MODEL_DEVELOPER"),
    row("users: by an app developer", "app developer", user(), 403, UNAUTHORIZED, "ADMIN, SUPERADMIN", "APP_DEVELOPER"),
    row("users: by nobody", "nobody", user(), 401, UNAUTHORIZED, "No token"),
    row("users: by a banned user", "banned", user(), 401, UNAUTHORIZED, "banned"),
    row("users: list by an app developer", "app developer", get("/users"), 403, UNAUTHORIZED, "ADMIN, SUPERADMIN"),
    row("users: list with a filter", "superadmin", get("/users", user_type="ADMIN"), 400, INVALID, "'user_type'",
        "none"),
    row("users: me with an id", "developer", get("/users/me", id="x"), 400, INVALID, "'id'", "none"),
    # ---- bans
    row("users: ban of nobody", "superadmin", delete("/users", email="no@body"), 404, "InvalidUserError", "'no@body'"),
    row("users: ban by id", "superadmin", delete("/users", id="<id of developer>"), 400, INVALID, "'id'", "email"),
    row("users: ban without an email", "superadmin", delete("/users"), 400, INVALID, "'email' is missing"),
    row("users: ban of a number", "superadmin", delete("/users", email=7), 400, INVALID, "'email'", "`int`"),
    row("users: ban of a banned user", "admin", delete("/users", email="<banned>"), 409, "UserAlreadyBannedError",
        "<banned>", "already"),
    row("users: ban of oneself", "admin", delete("/users", email="<admin>"), 403, UNAUTHORIZED, "yourself"),
    row("users: ban of oneself by the superadmin", "superadmin", delete("/users", email="<superadmin>"), 403,
        UNAUTHORIZED, "yourself"),
    row("users: ban of an admin by an admin", "admin", delete("/users", email="<other admin>"), 403, UNAUTHORIZED,
        "Only the superadmin"),
    row("users: ban of the superadmin", "admin", delete("/users", email="<superadmin>"), 403, UNAUTHORIZED,
        "Only the superadmin"),
    row("users: ban by a developer", "developer", delete("/users", email="<app developer>"), 403, UNAUTHORIZED,
        "ADMIN, SUPERADMIN"),
    row("users: ban of an email with NUL", "superadmin", delete("/users", email="x\0@y"), 400, INVALID, "NUL"),
    # ---- tokens
    row("tokens: without a password", "nobody", token(password=...), 400, INVALID, "'password' is missing"),
    row("tokens: null as password", "nobody", token(password=None), 400, INVALID, "'password'", "`null`"),
    row("tokens: unknown field", "nobody", token(remember=True), 400, INVALID, "'remember'", "email, password"),
    row("tokens: email with NUL", "nobody", token(email="x\0@y"), 400, INVALID, "NUL"),
    row("tokens: for nobody", "nobody", token(email="no@body"), 401, "InvalidPasswordError", "email or the password"),
    row("tokens: wrong password", "nobody", token(password="A password"), 401, "InvalidPasswordError", "wrong"),
    row("tokens: empty password", "nobody", token(password=""), 401, "InvalidPasswordError", "wrong"),
    row("tokens: password with a space more", "nobody", token(password="a password "), 401, "InvalidPasswordError",
        "wrong"),
    row("tokens: a hash as password", "nobody", token(password="$argon2id$v=19$m=7168"), 401, "InvalidPasswordError",
        "wrong"),
    row("tokens: password of 50 kB", "nobody", token(password="x" * 50_000), 401, "InvalidPasswordError", "wrong"),
    row("tokens: password of 5 MB", "nobody", token(password="x" * 5_000_000), 413, "RequestTooLargeError", "65,536"),
    row("tokens: for a banned user", "nobody", token(email="<banned>"), 401, UNAUTHORIZED, "banned"),
    row("tokens: for a banned user with a wrong password", "nobody", token(email="<banned>", password="x"), 401,
        "InvalidPasswordError", "wrong"),
    row("tokens: none", "nobody", get("/datasets"), 401, UNAUTHORIZED, "No token", "rafiki login"),
    row("tokens: of another scheme", "nobody", Request("GET", "/datasets", {"auth": ("x", "y")}), 401, UNAUTHORIZED,
        "No token"),
    row("tokens: empty", "nobody",
        RawRequest(b"GET /datasets HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer \r\n\r\n"), 401,
        UNAUTHORIZED, "No token"),
    row("tokens: too old", "token late", get("/datasets"), 401, UNAUTHORIZED, "expired", "rafiki login"),
    row("tokens: of a user who does not exist", "token ghost", get("/datasets"), 401, UNAUTHORIZED, "does not exist"),
    row("tokens: of a banned user", "banned", get("/datasets"), 401, UNAUTHORIZED, "banned"),
    *(
        row(f"tokens: {what}", f"token {who}", get("/datasets"), 401, UNAUTHORIZED, "not valid")
        for what, who in {
            "that name a number": "number", "without an end": "timeless", "signed with another key": "forger",
            "without a signature": "unsigned", "with other claims": "altered", "with a header nested deep": "deep",
            "of garbage": "garbage",
        }.items()
    ),
]  # fmt: skip
