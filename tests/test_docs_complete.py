"""Everything that a user can type, set, call or catch is documented, and stands on the page that is made from it."""

from __future__ import annotations

import json
import re
from functools import cache

import msgspec
import pytest
import yaml

from docs._generate import commands, errors, job_spec, notes, pages, rest, sdk, services, settings
from docs._generate.fields import field_docs
from rafiki import registries
from rafiki.advisor.rules import RULES
from rafiki.advisor.schemes import SCHEMES
from rafiki.client import Client, PredictorClient
from rafiki.constants import BudgetOption, ExitCode, InferenceBudgetOption
from rafiki.contract.endpoint import AnyEndpoint
from rafiki.contract.metrics import ADMIN_METRICS, PREDICTOR_METRICS, PROCESS_METRICS, Metric
from rafiki.contract.service_calls import SERVICE_CALLS
from rafiki.model.base import BaseModel
from rafiki_cli.jobs.spec import JobFile, JobSpec

COMMANDS = {c.name: c for c in commands.walk()}


@cache
def fragment(name: str) -> str:
    return pages.FRAGMENTS[name]()


@cache
def command_text() -> str:
    return "\n".join([fragment("commands-root"), *pages.command_pages().values()])


def entry_of(text: str, label: str) -> str:
    """What follows a label, to the next one."""
    assert text.count(f"({label})=") == 1, label
    return re.split(r"^\([\w-]+\)=$", text.partition(f"({label})=\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


# ---- commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, f"{name} has no docstring"
    assert f"`{name}`" in entry_of(command_text(), command.label)


@pytest.mark.parametrize("name", [name for name, c in COMMANDS.items() if c.params])
def test_every_argument_and_option_says_what_it_means(name: str) -> None:
    command = COMMANDS[name]
    told = entry_of(command_text(), command.label)
    for param in command.params:
        said = commands.help_of(param).strip()
        assert said, f"{name}: {param.opts[-1]} has no help text"
        if param.param_type_name == "option":
            assert re.search(rf"^```+{{option}} .*(?<!\S){re.escape(param.opts[-1])}\b", told, re.MULTILINE), param.opts
        else:
            assert f"`{commands.metavar(param)}" in told
        # In front of what Markdown takes for its own, a backslash stands on the page.
        words = re.findall(r"\w+", said.partition("[default:")[0])
        assert all(word in told.replace("\\", "") for word in words), param.opts


def test_the_global_options_say_what_they_mean() -> None:
    found = commands.global_options()
    assert {"--config", "--admin", "--debug"} <= {name.split()[0].rstrip(",") for name in found}
    assert all(found.values())
    assert all(f"`{name}`" in fragment("commands-globals") for name in found)


def test_every_example_of_a_command_is_on_its_page() -> None:
    shown = [(c, line) for c in COMMANDS.values() for line in commands.examples(c)]
    assert [line for c, line in shown if line not in entry_of(command_text(), c.label)] == []


def test_prose_about_commands_calls_and_sections_belongs_to_something() -> None:
    told = {tuple(name.split()[1:]) for name in notes.notes("commands")}
    assert told <= {c.path for c in COMMANDS.values()}
    assert notes.notes("rest").keys() <= {*rest.ENDPOINTS, *rest.groups()}
    assert notes.notes("settings").keys() <= settings.sections().keys()


# ---- settings, exit codes, errors


@pytest.mark.parametrize("key", settings.settings())
def test_every_setting_says_what_it_means_with_its_default_and_its_variable(key: str) -> None:
    default, doc = settings.settings()[key]
    assert doc, f"{key} has no string below it in rafiki/config.py"
    told = fragment("settings").partition(f"{{confval}} {key}\n")[2].partition("\n```")[0]
    assert f"Default `{json.dumps(msgspec.to_builtins(default))}`" in told
    assert f"`RAFIKI_{key.replace('.', '__').upper()}`" in told
    assert doc.split(".")[0].replace("``", "`") in told


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_says_what_it_means(code: ExitCode) -> None:
    assert field_docs(ExitCode).get(code.name), f"{code.name} has no string below it in rafiki/constants.py"
    assert f"| {code.value} | `{code.name}` | " in fragment("exit-codes")


@pytest.mark.parametrize("name", errors.known())
def test_every_error_has_advice_its_status_and_its_exit_code(name: str) -> None:
    kind = errors.known()[name]
    [(group, advice)] = [(g, rows[name]) for g, rows in errors.groups().items() if name in rows]
    assert (kind.__doc__ or "").strip()
    assert advice.when and advice.what_to_do, f"{name} needs a row in docs/_notes/errors.md"
    told = entry_of(fragment("errors"), f"error-{name}")
    assert f"(`{ExitCode(kind.exit_code).name}`)" in told
    assert (f"HTTP {kind.http_status}" in told) == (group != errors.LOCAL)


def test_advice_is_about_errors_that_there_are() -> None:
    assert errors.unknown() == set()


# ---- the REST interface


@pytest.mark.parametrize("name", rest.ENDPOINTS)
def test_a_call_is_told_with_who_may_make_it_and_all_its_fields(name: str) -> None:
    endpoint: AnyEndpoint = rest.ENDPOINTS[name]
    told = entry_of(fragment("rest"), f"rest-{name}")
    assert f"### `{endpoint.method} {endpoint.path}`" in told
    assert endpoint.summary and endpoint.summary in told
    assert endpoint.roles in rest.WHO, "say in docs/_generate/rest.py who they are"
    for field in msgspec.structs.fields(endpoint.request):
        assert rest.meaning(endpoint.request, field.name), (
            f"{endpoint.request.__name__}.{field.name} has no string below it"
        )
        [row] = [line for line in told.splitlines() if line.startswith(f"| `{field.name}` |")]
        assert field.required == ("| required |" in row)


@pytest.mark.parametrize("kind", rest.records(), ids=lambda kind: kind.__name__)
def test_every_field_of_a_record_says_what_it_means(kind: type) -> None:
    told = entry_of(fragment("rest"), rest.record_label(kind))
    for field in msgspec.structs.fields(kind):
        assert rest.meaning(kind, field.name), f"{kind.__name__}.{field.name} has no string below it in rafiki/contract"
        assert f"| `{field.name}` |" in told


def test_what_a_call_refuses_with_is_found_in_the_code_that_serves_it() -> None:
    told = entry_of(fragment("rest"), "rest-delete_model")
    assert "#error-modelusederror" in told and "#error-invalidmodelerror" in told
    assert "#error-userexistserror" not in told


@pytest.mark.parametrize("name", SERVICE_CALLS)
def test_a_call_of_services_is_told_with_all_its_fields(name: str) -> None:
    declared = SERVICE_CALLS[name]
    told = entry_of(fragment("service-calls"), f"service-{name}")
    assert f"## `{declared.method} {declared.path}`" in told
    assert declared.summary in told and declared.who in told
    kinds = [*([declared.request] if declared.request else []), *services.answers(declared)]
    for kind in kinds:
        for field in msgspec.structs.fields(kind):
            assert services.meaning(kind, field.name), f"{kind.__name__}.{field.name} has no string below it"
            assert f"| `{field.name}` |" in told


@pytest.mark.parametrize("option", [*BudgetOption, *InferenceBudgetOption])
def test_every_option_of_a_budget_is_told(option: str) -> None:
    assert f"`{option}`" in fragment("rest")


# ---- what programs import


@pytest.mark.parametrize("group", [*sdk.model_names(), *sdk.client_names()])
def test_every_name_that_programs_import_has_a_docstring(group: str) -> None:
    text = fragment("sdk") + fragment("python-client")
    for name in {**sdk.model_names(), **sdk.client_names()}[group]:
        assert sdk.doc_of(name), f"{name.name} has no docstring"
        assert re.search(rf"^```+{{py:\w+}} {re.escape(name.name)}\b", text, re.MULTILINE)


@pytest.mark.parametrize("kind", [BaseModel, Client, PredictorClient])
def test_every_method_that_programs_use_has_an_entry(kind: type) -> None:
    text = fragment("sdk") + fragment("python-client")
    own = text.partition(f".{kind.__name__}(")[2].partition("\n````\n")[0]
    methods = [name for name in dir(kind) if not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"^```+{{py:\w+}} {name}\b", own, re.MULTILINE)] == []


def test_every_name_of_the_sdk_is_in_a_group() -> None:
    grouped = {n.name.removeprefix("rafiki.model.") for group in sdk.model_names().values() for n in group}
    import rafiki.model

    assert set(rafiki.model.__all__) - grouped == sdk.told_in_prose()


# ---- job specs


def test_every_key_of_a_job_says_what_it_means() -> None:
    keys = job_spec.keys()
    assert {"app", "budget", "gates"} <= {key.path for key in keys}
    assert [key.path for key in keys if not key.schema.get("description")] == []
    assert [key.path for key in keys if f"| `{key.path}` |" not in fragment("job-spec")] == []


JOBS = [
    (name, block)
    for name in ("reference/job-spec.md", "tutorial/your-own-model.md", "howto/ci.md")
    for block in re.findall(r"(?sm)^```yaml\n(.*?)^```$", (notes.FOLDER.parent / name).read_text("utf-8"))
    if "datasets:" in block
]


@pytest.mark.parametrize(("page", "block"), JOBS, ids=[f"{name}-{i}" for i, (name, _) in enumerate(JOBS)])
def test_the_job_files_that_are_shown_have_the_form_of_job_files(page: str, block: str) -> None:
    tree = yaml.safe_load(block)
    msgspec.convert(tree, JobFile if "jobs" in tree else JobSpec)


# ---- what is registered


def _section(page: str, heading: str) -> str:
    text = (notes.FOLDER.parent / page).read_text("utf-8")
    return re.split(r"(?m)^#{2,3} ", text.partition(f" {heading}\n")[2])[0]


@pytest.mark.parametrize("name", registries.SCHEMES.builtin)
def test_every_search_scheme_is_told_with_its_options(name: str) -> None:
    assert re.search(rf"(?m)^\| `{name}` \|", _section("reference/search.md", "Schemes"))
    if name != "fixed":
        section = _section("reference/search.md", f"`{name}`")
        options = [f.encode_name for f in msgspec.structs.fields(SCHEMES.get(name).options)]
        assert [option for option in options if f"| `{option}` |" not in section] == []


@pytest.mark.parametrize("name", registries.RULES.builtin)
def test_every_stopping_rule_is_told_with_its_options(name: str) -> None:
    [row] = re.findall(rf"(?m)^\| `{name}` \|.*$", _section("howto/tune.md", "Early ending"))
    options = [f.encode_name for f in msgspec.structs.fields(RULES.get(name).options)]
    assert [option for option in options if f"`{option}`" not in row] == []


@pytest.mark.parametrize("name", registries.TASKS.builtin)
def test_every_task_is_told(name: str) -> None:
    assert _section("reference/tasks.md", f"`{name}`")


# ---- metrics


@pytest.mark.parametrize("metric", [*ADMIN_METRICS, *PREDICTOR_METRICS, *PROCESS_METRICS], ids=lambda m: m.name)
def test_every_metric_stands_once_on_its_page_with_its_labels(metric: Metric) -> None:
    # What is exported is what is declared, as the tests of both say.
    page = pages.fill((notes.FOLDER.parent / "reference" / "metrics.md").read_text("utf-8"))
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{metric.sample_name}` |")]
    assert [cell.strip() for cell in row.split("|")[2:4]] == [
        metric.kind,
        ", ".join(f"`{label}`" for label in metric.labels),
    ]
    assert metric.help.endswith(".")
    assert not metric.name.endswith("_total"), "Prometheus' client adds it"
