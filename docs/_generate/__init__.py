"""Makes the reference pages from the code: every command, setting, call, error and name documents itself.

Hand-written pages hold a line ``<!-- from the code: NAME -->``; :data:`pages.FRAGMENTS` says what takes its place when
Sphinx reads the page. Pages that exist for what the code has (one for each group of commands) are written by
:func:`pages.write_command_pages` before Sphinx looks for files, and are not committed.

Figures (:mod:`figures`) are drawn from ``docs/figures`` when a page shows them; captured screens (:mod:`screens`) are
kept in ``docs/screens``.

The same input always gives the same text. ``docs/_notes`` holds prose that belongs to a generated entry.
"""
