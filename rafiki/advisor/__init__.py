"""Budgets and search schemes as pure ask/tell: no I/O, no clock, no global state.

Import the submodule you need. ``budget`` needs neither numpy nor scipy, so that the admin can check a budget
at job creation; only ``bayes`` and what it builds on (``encoding``, ``gp``, ``acquisition``, ``optimize``)
load numpy.
"""
