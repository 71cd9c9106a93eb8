"""Puts one stack together from its configuration."""

from __future__ import annotations

import contextlib
import tempfile
from typing import TYPE_CHECKING

from rafiki.admin.advertised import check_ways_out
from rafiki.admin.audit_log import AuditLog
from rafiki.admin.auth import Tokens, hash_password
from rafiki.admin.box_doors import BoxDoors
from rafiki.admin.cache_keeper import CacheKeeper
from rafiki.admin.context import AdminContext
from rafiki.admin.counters import AdminCounters
from rafiki.admin.courier_keeper import CourierKeeper
from rafiki.admin.direct_folders import DirectFolders
from rafiki.admin.entrance import Entrance
from rafiki.admin.events import EventHub
from rafiki.admin.health import Health
from rafiki.admin.login_limits import LoginLimits
from rafiki.admin.migration import migrate_in_child
from rafiki.admin.model_checks import ModelChecks
from rafiki.admin.oidc_flows import FlowSeal
from rafiki.admin.predictor_keys import PredictorKeys
from rafiki.admin.receivers import read_receivers
from rafiki.admin.service_door import AdminServiceDoor
from rafiki.admin.service_tokens import ServiceTokens
from rafiki.admin.settling import check_database_is_there, settle_database
from rafiki.admin.spec_shelf import SpecShelf
from rafiki.admin.specs import SpecBuilder
from rafiki.admin.supervisor import Supervisor
from rafiki.admin.version_files import VersionFiles
from rafiki.cache.connection import parse_cache_url
from rafiki.cache.server import CacheServer, CacheServerTls
from rafiki.cache_program import ServerProgram, find_server_program
from rafiki.config import SUPERADMIN_EMAIL, LoadedConfig, installer_settings, package_environment, worker_environment
from rafiki.constants import UserType
from rafiki.container import ContainerManager, ContainerSetup, open_container_manager
from rafiki.contract.metrics_access import MetricsToken, find_token_file
from rafiki.environments.build import BuildOptions
from rafiki.environments.images import ImageEnvironments
from rafiki.environments.nodes import NodeEnvironments
from rafiki.environments.store import EnvironmentStore
from rafiki.errors import CacheUnavailableError, CacheUnfitError, ConfigError, UserExistsError
from rafiki.messages import InferenceWorkerSpec, MetricsAccess, PredictorSpec
from rafiki.meta_store import MetaStore, open_meta_store
from rafiki.oidc.settings import read_oidc
from rafiki.sandbox.bubblewrap import open_sandbox
from rafiki.sandbox.sandbox import DIRECT
from rafiki.service_names import ServiceNames
from rafiki.settings import Config
from rafiki.stack_folder import Secrets, StackFolder
from rafiki.stack_identity import StackIdentity
from rafiki.stores import open_data_store, open_param_store
from rafiki.tracing_setting import read_tracing
from rafiki.utils.addresses import is_loopback
from rafiki.utils.process import STACK_VARIABLE

if TYPE_CHECKING:
    from rafiki.oidc.provider import Provider

_WEAKEST_SECRET = 32


def _refuse_weak_secrets(host: str, secrets: Secrets) -> None:
    """Who listens to other machines needs secrets that cannot be guessed."""
    if not is_loopback(host) and min(len(secrets.token_key), len(secrets.job_key)) < _WEAKEST_SECRET:
        raise ConfigError(
            f"admin.host is {host}, which other machines reach, but the stack's secrets are shorter than "
            f"{_WEAKEST_SECRET} characters. Move secrets.json away to make new ones."
        )


def _make_superadmin(store: MetaStore, folder: StackFolder) -> None:
    if store.users.find_user_by_email(SUPERADMIN_EMAIL) is not None:
        return
    try:
        store.users.create_user(
            email=SUPERADMIN_EMAIL,
            password_hash=hash_password(folder.superadmin_password()),
            user_type=UserType.SUPERADMIN,
        )
    except UserExistsError:
        return


def _cache_keeper(
    loaded: LoadedConfig, folder: StackFolder, secrets: Secrets, stack_id: str, entrance: Entrance,
    doors: BoxDoors | None,
) -> CacheKeeper:  # fmt: skip
    settings, named = loaded.config.cache, folder.tls.cache()
    if settings.url is not None:
        address = parse_cache_url(settings.url, named)
        if doors is not None:
            doors.relay_to(address)
        return CacheKeeper(address, None, secrets.job_key)

    def find_program() -> ServerProgram:
        return find_server_program(settings.program, loaded.base_folder, needs_tls=entrance.tls is not None)

    tls = entrance.tls
    server = CacheServer(
        stack_root=folder.root, stack_id=stack_id, run_folder=folder.run, log_file=folder.logs / "cache.log",
        password=secrets.cache_password, port=settings.port, start_timeout_s=settings.start_timeout_s,
        find_program=find_program, other_hosts=[entrance.at.host] if entrance.at.is_elsewhere else [],
        socket=doors.cache_socket if doors else None,
        tls=CacheServerTls(tls.certificate, tls.key, tls.authorities) if tls else None,
    )  # fmt: skip
    address = server.ensure()
    if doors is not None:
        doors.lead_to(address)
    return CacheKeeper(address, server, secrets.job_key)


def _install_on_nodes(
    config: Config, folder: StackFolder, containers: ContainerManager, environments: EnvironmentStore
) -> None:
    """Where workers run in images on nodes, what their models depend on is installed there, or into such images."""
    if (images := containers.package_images()) is not None:
        environments.add_nodes(
            ImageEnvironments(
                images, folder.root / "image-environments.json", environments.log_file,
                timeout_s=config.environments.build_timeout_s, only_wheels=config.environments.only_wheels,
                variables=installer_settings(), changed=environments.note_change,
            )
        )  # fmt: skip
        return
    if (runner := containers.one_shots()) is None:
        return
    settings = config.environments
    nodes = NodeEnvironments(
        runner, folder.root / "node-environments.json", environments.log_file, timeout_s=settings.build_timeout_s,
        only_wheels=settings.only_wheels, variables=installer_settings(), changed=environments.note_change,
        max_bytes=None if settings.node_max_mb is None else settings.node_max_mb << 20,
    )  # fmt: skip
    environments.add_nodes(nodes)
    containers.on_missing_packages(nodes.doubt)


def _open_oidc(loaded: LoadedConfig) -> Provider | None:
    """The provider of logins, which is asked when somebody logs in: it may be down at the start."""
    if (client := read_oidc(loaded)) is None:
        return None
    # Its libraries take as long to import as a small part of the admin, and memory.
    from rafiki.oidc.provider import Provider

    return Provider(client)


def build_stack(loaded: LoadedConfig, identity: StackIdentity, entrance: Entrance) -> AdminContext:
    """Open the stores (making and migrating what is not there yet), find or start the cache; nothing supervises yet.

    Args:
        identity: the record of the stack, whose folder is made and settled.
        entrance: where services of other hosts come in.

    Raises:
        RafikiError: saying what keeps the stack from starting.
    """
    config, folder = loaded.config, StackFolder(loaded)
    secrets = folder.secrets()
    _refuse_weak_secrets(config.admin.host, secrets)
    check_ways_out(config)
    token_file, tracing = find_token_file(loaded), read_tracing(loaded)
    oidc = _open_oidc(loaded)
    # Uploads are spooled where datasets lie, not in a /tmp that may be small.
    tempfile.tempdir = str(folder.run)
    store = open_meta_store(folder.meta_store_url)
    check_database_is_there(loaded, folder, store)
    migrate_in_child(folder.meta_store_url, last_version=identity.version)
    identity = settle_database(folder, identity, store)
    _make_superadmin(store, folder)
    store.outbox.set_named_receivers(read_receivers(loaded))
    datasets = open_data_store(folder.datasets, max_bytes=config.admin.max_dataset_mb * 1024 * 1024)
    params = open_param_store(folder.params)
    for store_of_files in (datasets, params):
        store_of_files.check()
    door = AdminServiceDoor(
        url=entrance.url, authorities=entrance.authorities, tokens=ServiceTokens(secrets.job_key, store.services),
        shelf=SpecShelf(folder.run), store=store, datasets=datasets, params=params,
        is_direct=config.stores.signed_urls,
    )  # fmt: skip
    sandbox = open_sandbox(config.container, loaded.base_folder, folder.root)
    doors = BoxDoors(folder) if sandbox is not None else None
    setup = ContainerSetup(
        config=config, stack_root=folder.root, stack_id=identity.id, run_folder=folder.run, log_folder=folder.logs,
        model_environment=worker_environment(config.container.pass_environment), door=door,
        sandbox=sandbox,
    )  # fmt: skip
    containers = open_container_manager(setup)
    # Last, because it starts a process: what fails before it leaves nothing behind.
    cache = _cache_keeper(loaded, folder, secrets, identity.id, entrance, doors)
    # The supervisor waits for what can mend itself, such as a server that is not up yet.
    try:
        with contextlib.suppress(CacheUnavailableError):
            cache.rehearse()
    except CacheUnfitError:
        cache.shut_down()
        raise
    disk = folder.disk_space()
    environments = EnvironmentStore(
        folder.environments,
        folder.logs,
        BuildOptions(
            timeout_s=config.environments.build_timeout_s, only_wheels=config.environments.only_wheels,
            process_environment={**package_environment(), STACK_VARIABLE: str(folder.root)}, sandbox=sandbox,
        ),
    )  # fmt: skip
    environments.clean_up()
    _install_on_nodes(config, folder, containers, environments)
    checks = ModelChecks(store, environments, config.admin.model_load_timeout_s, sandbox)
    keys = PredictorKeys(store, folder.run)
    is_one_host = not (containers.is_elsewhere(PredictorSpec.kind) or containers.is_elsewhere(InferenceWorkerSpec.kind))
    direct = DirectFolders(store, folder.run / DIRECT) if config.predictor.direct and is_one_host else None
    versions = VersionFiles(
        store=store, credentials=cache.credentials, keys=keys, settings=config.predictor, folder=folder.run,
        direct_folder=direct.name_of if direct is not None else lambda job_id: None,
    )  # fmt: skip
    specs = SpecBuilder(
        config=config, store=store, datasets=datasets, params=params,
        meta_store_url=folder.meta_store_url, credentials=cache.credentials, environments=environments, door=door,
        keys=keys, versions=versions, direct=direct,
        tracing=tracing,
        metrics_access=MetricsAccess(
            token_file=None if token_file is None else str(token_file), is_public=config.metrics.public
        ),
        disk=disk, is_elsewhere=containers.is_elsewhere, is_boxed=containers.is_boxed,
        cache_host=entrance.at.host if config.cache.url is None else None, certificate=folder.tls.server(),
    )  # fmt: skip
    hub = EventHub(cache.address)
    counters = AdminCounters()
    supervisor = Supervisor(
        config=config, store=store, containers=containers, cache=cache, specs=specs, environments=environments,
        checks=checks, hub=hub, names=ServiceNames(folder.logs), params=params, doors=doors,
        versions=versions,
        counters=counters,
    )  # fmt: skip
    return AdminContext(
        config=config, stack_id=identity.id, folder=folder, store=store, datasets=datasets, params=params,
        containers=containers, environments=environments, checks=checks, supervisor=supervisor, hub=hub,
        health=Health([("The cache", cache.check), ("The database", store.check)]),
        tokens=Tokens(secrets.token_key, config.admin.token_hours), door=door, doors=doors, sandbox=sandbox,
        disk=disk, audit=AuditLog(folder.audit, config.logging.audit_max_mb << 20), login_limits=LoginLimits(),
        keys=keys, courier=CourierKeeper(store), job_key=secrets.job_key, oidc=oidc, flows=FlowSeal(secrets.token_key),
        counters=counters,
        metrics_token=None if token_file is None else MetricsToken(token_file),
    )  # fmt: skip
