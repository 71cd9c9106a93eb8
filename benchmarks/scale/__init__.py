"""How far one admin reaches: the real planner and supervisor over hosts, engine and services that exist on paper."""
