"""The files of a project that trains on a raw table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from rafiki_cli.raw_data.table_plan import TablePlan, Wishes
from rafiki_cli.scaffold.catalogue import Template, list_templates
from rafiki_cli.scaffold.installed import is_installed


def fitting_templates(task: str) -> tuple[list[Template], list[Template]]:
    """The templates of a task whose packages are installed, and the others."""
    found = list_templates(task)
    ready = [t for t in found if all(map(is_installed, t.dependencies))]
    return ready, [t for t in found if t not in ready]


def project_of(
    app: str, plan: TablePlan, wishes: Wishes, templates: Sequence[Template], budget: Mapping[str, int | float]
) -> dict[str, bytes]:
    """Path below the project's folder -> contents."""
    record = {
        "target": plan.target, "task": plan.task, "ignored": list(wishes.ignore), "seed": wishes.seed,
        "val": wishes.val, "test": wishes.test, "group": wishes.group, "time": wishes.time,
        "rows": {part: [plan.table.rows[i][0] for i in own] for part, own in plan.parts.items()},
    }  # fmt: skip
    return {
        **{f"data/{part}.csv": plan.csv_of(part) for part in plan.parts},
        "data/split.json": (json.dumps(record, ensure_ascii=False) + "\n").encode(),
        "data/query.json": plan.query(),
        "job.yaml": job_text(app, plan, templates, budget).encode(),
    }


def job_text(app: str, plan: TablePlan, templates: Sequence[Template], budget: Mapping[str, int | float]) -> str:
    """The job file, with what was decided as comments."""
    import yaml

    job = {
        "app": app,
        "task": str(plan.task),
        "datasets": {
            part: {"path": f"data/{part}.csv", "as": f"{app}-{part}"} for part in ("train", "val")
        },
        "models": [{"template": template.name} for template in templates],
        "budget": dict(budget),
        "train_args": {"target": plan.target},
        "ensemble": "greedy",
    }  # fmt: skip
    text = yaml.safe_dump(job, sort_keys=False, allow_unicode=True)
    told = "".join(f"# {note}\n" for note in plan.notes)
    return f"# What `rafiki run job.yaml` does. Found in the data:\n{told}{text}"
