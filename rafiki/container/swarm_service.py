"""From a service to start to the Swarm service that it becomes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from rafiki.container.base import ContainerSetup, ServiceRequest
from rafiki.container.image_digests import pinned
from rafiki.container.process import MODEL_CODE_VARIABLE
from rafiki.container.swarm_tasks import NODE_CONSTRAINT
from rafiki.container.threads import threads_of_worker
from rafiki.distribution import IMAGE
from rafiki.utils.process import (
    COPIES_FOLDER_VARIABLE,
    COPIES_MAX_MB_VARIABLE,
    SERVICE_VARIABLE,
    STACK_ID_VARIABLE,
)
from rafiki.utils.spec import TOKEN_FILE_VARIABLE

STACK_LABEL = "rafiki.stack"
SERVICE_LABEL = "rafiki.service"
KIND_LABEL = "rafiki.kind"
USER = "10001:10001"
_TOKEN_FILE = "/run/secrets/rafiki-token"
_COPIES_MOUNT = "/var/tmp"
_COPIES_FOLDER = f"{_COPIES_MOUNT}/rafiki-copies"
_ENVIRONMENTS_MOUNT = "/opt/rafiki-environments"
_ENTER = "rafiki.environments.enter"
_HOME = "/tmp"
_OF_THE_MACHINE = frozenset({"PATH", "HOME", "USER", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV"})
"""Variables that name places of the admin's machine."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    cores_of_a_node: int
    """Of the smallest one."""
    cores_of_all: int
    takes_no_new_privileges: bool
    """Whether the engine can be told that programs of services gain none."""


def service_name(request: ServiceRequest) -> str:
    return f"rafiki-{request.kind}-{request.service_id}"


def stack_label(setup: ContainerSetup) -> str:
    return f"{STACK_LABEL}={setup.stack_id or setup.stack_root}"


def labels_of(setup: ContainerSetup, request: ServiceRequest) -> dict[str, str]:
    return {
        STACK_LABEL: setup.stack_id or str(setup.stack_root),
        SERVICE_LABEL: request.service_id,
        KIND_LABEL: request.kind,
    }


def image_of(setup: ContainerSetup, request: ServiceRequest) -> str:
    if request.packages is not None and request.packages.image is not None:
        return request.packages.image
    if request.image is not None:
        return pinned(request.image, request.image_digest)
    return setup.config.container.image or IMAGE


def service_spec(
    setup: ContainerSetup,
    request: ServiceRequest,
    *,
    secret_id: str,
    network: str | None,
    limits: Limits,
    node_id: str | None = None,
    not_on: Iterable[str] = (),
) -> dict[str, object]:
    """The body of the request that makes the service.

    Args:
        secret_id: the Swarm's id of the secret that holds the service's token.
        network: what the service joins; None = a network of its own with a way out.
        node_id: where it is to run; None = anywhere.
        not_on: ids of nodes that lack what it needs.
    """
    settings = setup.config.container
    labels = labels_of(setup, request)
    name = service_name(request)
    memory_bytes = (settings.memory_limit_mb or 0) << 20
    container: dict[str, object] = {
        "Image": image_of(setup, request),
        "Command": _command(setup, request),
        "Env": [f"{k}={_literal(v)}" for k, v in _environment(setup, request, limits).items()],
        "User": USER,
        "Dir": _HOME,
        "Labels": labels,
        "Init": True,
        "ReadOnly": True,
        "CapabilityDrop": ["ALL"],
        "StopGracePeriod": int(settings.stop_timeout_s * 1e9),
        "Mounts": [
            {"Type": "tmpfs", "Target": _HOME},
            # Docker's own is of 64 MB, which data loaders of several processes fill.
            {"Type": "tmpfs", "Target": "/dev/shm"},
            {"Type": "volume", "Source": volume_name(setup), "Target": _COPIES_MOUNT},
            *_environments_mounts(setup, request),
        ],
        "Secrets": [
            {
                "SecretID": secret_id,
                "SecretName": name,
                "File": {"Name": _TOKEN_FILE.rpartition("/")[2], "UID": "10001", "GID": "10001", "Mode": 0o400},
            }
        ],
    }
    if limits.takes_no_new_privileges:
        container["Privileges"] = {"NoNewPrivileges": True}
    return {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": container,
            "Resources": {
                "Limits": {
                    "MemoryBytes": memory_bytes,
                    "NanoCPUs": int((settings.cores or 0) * 1e9),
                    "Pids": settings.max_processes,
                },
                "Reservations": {"MemoryBytes": memory_bytes},
            },
            "RestartPolicy": {"Condition": "none"},
            "Placement": {
                "Constraints": [
                    *([f"{NODE_CONSTRAINT}{node_id}"] if node_id else []),
                    *(f"node.id!={lacking}" for lacking in not_on if node_id is None),
                ]
            },
            "Networks": [{"Target": network}] if network else [],
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }


def _command(setup: ContainerSetup, request: ServiceRequest) -> list[str]:
    program = [request.module, setup.door.spec_url]
    if request.packages is None:
        return ["python", "-m", *program]
    folder = request.packages.folder
    return ["python", "-m", _ENTER, folder if request.packages.image else f"{_ENVIRONMENTS_MOUNT}/{folder}", *program]


def _environments_mounts(setup: ContainerSetup, request: ServiceRequest) -> list[dict[str, object]]:
    if request.packages is None or request.packages.image is not None:
        return []
    mount = {"Type": "volume", "Source": environments_volume(setup), "Target": _ENVIRONMENTS_MOUNT, "ReadOnly": True}
    return [mount]


def environments_volume(setup: ContainerSetup) -> str:
    """The volume of a node with the packages that the stack's models depend on."""
    return volume_name(setup).replace("copies", "environments", 1)


def volume_name(setup: ContainerSetup) -> str:
    """One a stack: tokens of one stack reach no dataset of another."""
    kept = "".join(c if c.isalnum() else "-" for c in setup.stack_id or str(setup.stack_root))
    return f"rafiki-copies-{kept}"


def _literal(value: str) -> str:
    """A value as it is: a Swarm takes variables for templates, and rejects a task of which one is none."""
    return value.replace("{{", '{{"{{"}}')


def _environment(setup: ContainerSetup, request: ServiceRequest, limits: Limits) -> dict[str, str]:
    settings = setup.config.container
    left_out = _OF_THE_MACHINE - set(settings.pass_environment)
    base: Mapping[str, str] = {k: v for k, v in setup.model_environment.items() if k not in left_out}
    # Each worker has its share of all cores, and no more than a node has.
    share = max(1, min(limits.cores_of_a_node, limits.cores_of_all // max(1, request.sharing)))
    if settings.cores:
        share = max(1, min(share, int(settings.cores)))
    n_gpus = len(request.gpus)
    return {
        "HOME": _HOME,
        **base,
        # Not the stack's folder: by that variable a stack finds its processes of this machine.
        STACK_ID_VARIABLE: setup.stack_id,
        SERVICE_VARIABLE: request.service_id,
        MODEL_CODE_VARIABLE: "1",
        TOKEN_FILE_VARIABLE: _TOKEN_FILE,
        COPIES_FOLDER_VARIABLE: _COPIES_FOLDER,
        **({COPIES_MAX_MB_VARIABLE: str(settings.copies_max_mb)} if settings.copies_max_mb else {}),
        "PYTHONUNBUFFERED": "1",
        "NVIDIA_VISIBLE_DEVICES": ",".join(gpu.name for gpu in request.gpus) or "void",
        # Of those that the container sees: these are numbered from 0.
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, range(n_gpus))) or "-1",
        **threads_of_worker(base, share),
    }
