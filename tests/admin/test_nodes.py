"""Nodes of a stack on one machine: that one is shown, and what changes nodes says why it does not apply."""

from __future__ import annotations

import os

import pytest
from support.stacks.admin_people import People
from support.stacks.running_stack import RunningStack

from rafiki.errors import InvalidNodeError, NoClusterError, UnauthorizedError


def test_the_one_machine_is_the_only_node(stack: RunningStack) -> None:
    [node] = stack.client().get_nodes()
    assert (node["name"], node["state"], node["role"]) == ("local", "READY", "")
    assert node["cores"] == len(os.sched_getaffinity(0))
    assert node["memory_bytes"] > 1 << 30
    assert node["free_disk_bytes"] > 0
    assert stack.client().get_node("local")["name"] == "local"
    with pytest.raises(InvalidNodeError, match="no node 'n9'"):
        stack.client().get_node("n9")


def test_what_changes_nodes_does_not_apply_to_one_machine(stack: RunningStack) -> None:
    client = stack.client()
    for verb, call in (
        ("add", client.add_node),
        ("drain", lambda: client.drain_node("local")),
        ("activate", lambda: client.activate_node("local")),
        ("remove", lambda: client.remove_node("local", force=True)),
    ):
        with pytest.raises(NoClusterError, match=f"no node to {verb}: .*this machine alone.*'process'.*swarm"):
            call()


def test_nodes_are_for_admins(people: People) -> None:
    for user in (people.model_developer, people.app_developer):
        for method, path in (
            ("GET", "/nodes"), ("GET", "/nodes/local"), ("POST", "/nodes"), ("POST", "/nodes/local/drain"),
            ("POST", "/nodes/local/activate"), ("DELETE", "/nodes/local"), ("GET", "/services/waiting"),
        ):  # fmt: skip
            user.refused(UnauthorizedError.__name__, method, path)
    assert people.admin.ok("GET", "/nodes")[0]["name"] == "local"
