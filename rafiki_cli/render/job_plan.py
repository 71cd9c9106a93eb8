"""What a job's plan looks like to people."""

from __future__ import annotations

import typer

from rafiki_cli.jobs.plan import Plan, Verb

_COLORS = {
    Verb.REUSE: "bright_black",
    Verb.SKIP: "bright_black",
    Verb.UPLOAD: "green",
    Verb.FETCH: "green",
    Verb.CREATE: "green",
    Verb.FOLLOW: "cyan",
    Verb.REPLACE: "yellow",
}


def plan_lines(plan: Plan) -> list[str]:
    """A line for the job, and one for each of its steps: what, which, what happens to it, why."""
    kind_width = max(len(step.kind) for step in plan.steps)
    name_width = max(len(step.name) for step in plan.steps)
    verb_width = max(len(step.verb) for step in plan.steps)
    lines = [typer.style(f"{plan.app}  {plan.task}", bold=True)]
    for step in plan.steps:
        verb = typer.style(step.verb.ljust(verb_width), fg=_COLORS[step.verb])
        lines.append(f"  {step.kind:<{kind_width}}  {step.name:<{name_width}}  {verb}  {step.reason}")
    return lines
