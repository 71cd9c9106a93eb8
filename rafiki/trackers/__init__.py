"""Trackers: where results are told besides Rafiki: an MLflow server, TensorBoard, Weights & Biases.

A kind of tracker is one file with a :class:`~rafiki.trackers.base.TrackerKind`, and one entry: a row of the table in
:mod:`rafiki.registries`, or an entry point of the group ``rafiki.trackers`` in a package of somebody else's.
"""

from rafiki import registries
from rafiki.registry import Registry
from rafiki.trackers.base import TrackedJob, TrackedTrial, Tracker, TrackerAwayError, TrackerKind, TrackerRefusalError

__all__ = [
    "TRACKERS",
    "TrackedJob",
    "TrackedTrial",
    "Tracker",
    "TrackerAwayError",
    "TrackerKind",
    "TrackerRefusalError",
]

TRACKERS = Registry(registries.TRACKERS, TrackerKind)
