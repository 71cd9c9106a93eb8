"""Users and their roles, step by step: who may see and do what; and how an administrator stops and bans.

    RAFIKI_PASSWORD=... python examples/administration.py                    # as the superadmin
    python examples/administration.py --stop-all-jobs                        # stops the jobs of everyone, too

It makes an admin, a model developer and an app developer with random passwords. In the end all three are banned and the
models that it uploaded are deleted.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from common import TEMPLATES, ExampleError, log_in, make_parser, run

from rafiki.client import Client
from rafiki.constants import ModelAccessRight, Task, UserType
from rafiki.errors import RequestRefusedError

TASK = Task.IMAGE_CLASSIFICATION
ROLES = [UserType.ADMIN, UserType.MODEL_DEVELOPER, UserType.APP_DEVELOPER]
FILE = TEMPLATES / "image_classification" / "decision_tree.py"


@contextlib.contextmanager
def new_users(superadmin: Client, args: argparse.Namespace, tag: str) -> Iterator[dict[str, Client]]:
    """A user of each role: role -> a client that is logged in as that user. They are banned when the block ends.

    Users cannot be deleted: what they trained stays in their name.
    """
    people: dict[str, Client] = {}
    logins: dict[str, str] = {}
    try:
        for role in ROLES:
            email, password = f"{role.lower()}-{tag}@example.com", secrets.token_urlsafe(16)
            superadmin.create_user(email, password, role)
            logins[email] = password
            people[role] = Client(args.host, args.port)
            people[role].login(email=email, password=password)
            print(f"  created {email}")
        yield people
    finally:
        print("Ban the users that were created:")
        for email, password in logins.items():
            superadmin.ban_user(email)
            attempt(f"{email} logs in", Client(args.host, args.port).login, email, password)


def attempt(what: str, call: Callable[..., Any], *arguments: Any, unit: str = "") -> None:
    """Print what came of a call: why it was refused, or how many of ``unit`` it told of."""
    try:
        answer = call(*arguments)
    except RequestRefusedError as e:
        print(f"  {what}: refused ({e.code}: {e.message})")
    else:
        print(f"  {what}: {f'{len(answer)} {unit}' if unit else 'done'}")


def show_models(people: dict[str, Client], tag: str) -> None:
    """A private model is trained by its owner alone and opened by admins too; a public one is for everybody."""
    owner = people[UserType.MODEL_DEVELOPER]
    models = []
    try:
        for access in (ModelAccessRight.PRIVATE, ModelAccessRight.PUBLIC):
            name = f"{access.lower()}-{tag}"
            models.append(owner.create_model(name, TASK, FILE, "SkDt", {"scikit-learn": ">=1.4"}, access))
        for role, client in people.items():
            names = {model["id"]: model["name"] for model in client.get_available_models(TASK)}
            print(f"  {role} may train {', '.join(names[m['id']] for m in models if m['id'] in names)}")
        for role, client in people.items():
            attempt(f"{role} opens the private one", client.get_model, models[0]["id"])
        attempt("APP_DEVELOPER uploads one", people[UserType.APP_DEVELOPER].create_model, "mine", TASK, FILE, "SkDt")
    finally:
        for model in models:
            owner.delete_model(model["id"])


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--stop-all-jobs", action="store_true", help="stop every train and inference job of everyone")
    args = parser.parse_args()
    superadmin = log_in(args)
    if superadmin.get_current_user()["user_type"] != UserType.SUPERADMIN:
        raise ExampleError(f"{args.email} is not the superadmin, who alone makes admins and stops everyone's jobs.")
    tag = secrets.token_hex(4)

    print("Create a user of each role:")
    with new_users(superadmin, args, tag) as people:
        everybody = {UserType.SUPERADMIN: superadmin, **people}
        print("See who the users are:")
        for role, client in everybody.items():
            attempt(role, client.get_users, unit="users")
        print("Make an admin:")
        for role, client in people.items():
            attempt(role, client.create_user, f"other-{tag}@example.com", secrets.token_urlsafe(16), UserType.ADMIN)
        print("Models, private and public:")
        show_models(people, tag)
        print("See what runs:")
        for role, client in everybody.items():
            attempt(role, client.get_services, unit="services")
        for s in superadmin.get_services():
            print(f"    {s['service_type']} of {s['app']}: {s['status']}, started {s['datetime_started']}")
        print("Stop the jobs of everyone:")
        if args.stop_all_jobs:
            for role, client in people.items():
                attempt(role, client.stop_all_jobs)
            stopped = superadmin.stop_all_jobs()
            n_train, n_inference = len(stopped["train_jobs"]), len(stopped["inference_jobs"])
            print(f"  SUPERADMIN: stopped {n_train} train jobs and {n_inference} inference jobs")
        else:
            print("  the superadmin alone may; --stop-all-jobs does it")


if __name__ == "__main__":
    run(main)
