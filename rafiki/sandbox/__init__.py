"""The box that model code runs in on this machine: it sees what it was given, and nothing else.

``sandbox.Sandbox`` puts a command into the box by means of bubblewrap (https://github.com/containers/bubblewrap): Linux
namespaces of processes, files, network and users, without capabilities. ``limits`` holds what a process in there may
use. ``docs/explanation/security.md`` says what the box closes, and what it does not.
"""
