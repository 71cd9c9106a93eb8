"""Why an installation failed: the line of pip's output that matters, in one sentence, and what to do.

pip's last line mostly says that something above it went wrong. What is looked for is how pip 23 and later, setuptools,
compilers and Python itself put it.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Sequence

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_REQUESTED = re.compile(r"^The user requested (?:\(constraint\) )?")
_CONFLICT = "The conflict is caused by:"
_NO_VERSION = re.compile(
    r"Could not find a version that satisfies the requirement (?P<wanted>.+?)"
    r"(?: \(from (?P<parent>(?!versions:)[^)]*)\))?"
    r" \(from versions: (?P<versions>[^)]*)\)"
)
_OTHER_PYTHON = re.compile(
    r"Package '(?P<package>[^']+)' requires a different Python: (?P<ours>\S+) not in '(?P<needs>[^']+)'"
)
_NEEDS_PYTHON = re.compile(r"(?P<version>\S+) Requires-Python (?P<needs>[^;]+)")
_NO_CONNECTION = re.compile(
    r"connection broken by|Failed to establish a new connection|Temporary failure in name resolution|"
    r"Name or service not known|Network is unreachable|Cannot connect to proxy|ReadTimeoutError|ConnectTimeoutError|"
    r"CERTIFICATE_VERIFY_FAILED|Could not fetch URL"
)
_CAUSES = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted here",
    "Name or service not known": "its name is not known here",
    "Temporary failure in name resolution": "its name cannot be looked up",
    "Connection refused": "connection refused",
    "Network is unreachable": "network is unreachable",
    "proxy": "the proxy does not answer",
    "timed out": "it does not answer in time",
    "TimeoutError": "it does not answer in time",
}
_HTTP_ERROR = re.compile(r"\b(?:HTTP error|HTTPError:) ?(?P<code>[45]\d\d)\b")
_BLOCK_BEGINS = re.compile(r"╰─> \[\d+ lines? of output\]")
_BLOCK_ENDS = "[end of output]"
_STEP = re.compile(r"× (?P<step>.+?) did not run successfully\.")
_EXIT_CODE = re.compile(r"│ exit code: (?P<code>-?\d+)")
_BEGUN = re.compile(r"(?:Collecting|Processing|Building wheel for) (?P<what>\S+)")
_FILE_NAME = re.compile(
    r"(?:.*/)?(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*?)-(?P<version>\d[^/]*?)"
    r"(?:\.tar\.gz|\.zip|\.tar\.bz2|-\w+.*\.whl)$"
)
_MISSING_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): (?P<what>No module named '?(?P<module>[\w.]+)'?)")
_TOOLS: Sequence[tuple[re.Pattern[str], str]] = (
    (re.compile(r"can't find Rust compiler|Rust toolchain|'(?:cargo|rustc)'|"
                r"(?:cargo|rustc): (?:command )?not found|Rust, the .+ is not installed|Cargo, the Rust", re.I),
     "a Rust compiler (cargo)"),
    (re.compile(r"'cmake'|CMake must be installed|cmake: (?:command )?not found|Could NOT find CMake", re.I), "CMake"),
    (re.compile(r"'(?:\S*/)?(?:g?fortran|gfortran)'|No Fortran compiler|gfortran: (?:command )?not found", re.I),
     "a Fortran compiler"),
    (re.compile(r"'(?:\S*/)?(?:nvcc)'|CUDA_HOME environment variable is not set|nvcc: (?:command )?not found"),
     "the CUDA toolkit (nvcc)"),
    (re.compile(r"'(?:\S*/)?git'|git: (?:command )?not found"), "git"),
    (re.compile(r"No such file or directory: '(?:\S*/)?(?:\S+-)?(?:gcc|cc|clang|g\+\+|c\+\+|clang\+\+)(?:-\d+)?'|"
                r"command '(?:\S*/)?(?:\S+-)?(?:gcc|cc|clang|g\+\+|c\+\+)(?:-\d+)?' failed: No such file|"
                r"unable to execute '?(?:\S*/)?\S*(?:gcc|cc|g\+\+)|"
                r"\b(?:gcc|cc|g\+\+): (?:command )?not found|No working compiler found|Unknown compiler\(s\)"),
     "a C compiler (gcc)"),
)  # fmt: skip
_HEADER = re.compile(r"fatal error: (?P<header>[^:]+): No such file or directory")
_OLD_TOOLS = ("distutils", "pip", "pkg_resources", "setuptools")
_PYTHON_2 = ("Missing parentheses in call to 'print'", "multiple exception types must be parenthesized")
_ERROR_LINE = re.compile(r"(?:[\w.]*(?:Error|Exception|Exit|Interrupt)|error): \S")
_NO_SPACE = ("No space left on device", "Disk quota exceeded", "[Errno 28]")
_SPACE_ADVICE = "no space is left on the disk: free some (`rafiki gc` shows what Rafiki can free), then try again"


def explain(lines: Sequence[str], exit_code: int = 1) -> str:
    """What went wrong in an attempt that ended with ``exit_code``, given all that it wrote; empty if it wrote nothing.

    Addresses of indexes, which may hold passwords, are in none of the sentences.
    """
    lines = [line.rstrip() for line in lines]
    for find in _FINDERS:
        if found := find(lines):
            return found
    if exit_code < 0:
        return _killed("pip", exit_code)
    errors = [line.strip().removeprefix("ERROR:").strip() for line in lines if line.strip().startswith("ERROR:")]
    said = list(dict.fromkeys(errors)) or [line.strip() for line in lines if line.strip()][-1:]
    return " ".join(said)


def explain_os_error(error: OSError, default: str) -> str:
    """The same for an error of the system."""
    text = f"{error.strerror or error} ({error.filename or default})"
    return _SPACE_ADVICE if any(words in str(error) for words in _NO_SPACE) else text


# ---- one kind of failure each: a sentence, or nothing


def explain_no_space(lines: Sequence[str]) -> str:
    """What to do when the disk was full; empty when it was not."""
    return _SPACE_ADVICE if any(words in line for line in lines for words in _NO_SPACE) else ""


def _no_network(lines: Sequence[str]) -> str:
    broken = [line for line in lines if _NO_CONNECTION.search(line)]
    if not broken or not any("from versions: none" in line or _is_fatal(line) for line in lines):
        return ""  # One that was tried again and then came.
    cause = next((words for sign, words in _CAUSES.items() if any(sign in line for line in broken)), "")
    why = f" ({cause})" if cause else ""
    return f"no network: the package index cannot be reached{why}. Check the network, and the index and proxy of pip"


def _is_fatal(line: str) -> bool:
    return line.startswith("ERROR:") and _NO_CONNECTION.search(line) is not None


def _refused(lines: Sequence[str]) -> str:
    for line in lines:
        if line.strip().startswith("ERROR:") and (found := _HTTP_ERROR.search(line)):
            return f"the package index refuses with {found['code']}. Check the index of pip, and its password"
    return ""


def _hash_mismatch(lines: Sequence[str]) -> str:
    for i, line in enumerate(lines):
        if "DO NOT MATCH THE HASHES" in line:
            package = next((rest.split()[0] for rest in lines[i + 1 :] if " from " in rest), "a package")
            return (
                f"hash mismatch: what came for {package} is not what was expected. It may have been cut off or "
                "changed: try again, and ask whoever keeps the index if it stays"
            )
    return ""


def _conflict(lines: Sequence[str]) -> str:
    if _CONFLICT not in lines:
        return ""
    found: list[str] = []
    for line in lines[lines.index(_CONFLICT) + 1 :]:
        if not line.strip():
            break
        found.append(line.strip())
    if (pinned := _only_pinned(found)) is not None:
        return _none_for_this_python(pinned, "")
    told = [re.sub(r"^The user requested \(constraint\) ", "Rafiki or pip's settings ask for ", line) for line in found]
    told = [re.sub(r"^The user requested ", "the model asks for ", line) for line in told]
    return f"conflict between {' and '.join(told)}. Change a version so that both hold"


def _only_pinned(found: Sequence[str]) -> Requirement | None:
    """The pinned requirement where no other line speaks against it: pip tells of a conflict also when there is no such
    version, and a constraint names the package.
    """
    requirements = [r for line in found if (r := _requirement(_REQUESTED.sub("", line))) is not None]
    names = {canonicalize_name(r.name) for r in requirements}
    if len(requirements) != len(found) or len(names) != 1:
        return None
    for one in requirements:
        version = _pin(one)
        if version is not None and all(r.specifier.contains(version, prereleases=True) for r in requirements):
            return one
    return None


def _other_python(lines: Sequence[str]) -> str:
    for line in lines:
        if found := _OTHER_PYTHON.search(line):
            return _needs_python(found["package"], found["needs"], found["ours"])
    return ""


def _no_version(lines: Sequence[str]) -> str:
    found = next((m for line in lines if (m := _NO_VERSION.search(line))), None)
    if found is None:
        return ""
    wanted = _requirement(found["wanted"].replace("(constraint)", "").strip())
    parent = f", which {_names_of(found['parent'])} needs," if found["parent"] and "-r " not in found["parent"] else ""
    if wanted is None:
        return f"no version of {found['wanted']} for {_python()}"
    version = _pin(wanted)
    ignored = next((line for line in lines if "Ignored the following versions" in line), "")
    for other in _NEEDS_PYTHON.finditer(ignored.partition("python version: ")[2]):
        if other["version"] == version:
            return _needs_python(f"{wanted.name} {version}", other["needs"].strip(), _python_version())
    versions = [] if found["versions"].strip() in ("", "none") else found["versions"].split(", ")
    if versions:
        newest = ", ".join(versions[-3:])
        return _none_for_this_python(wanted, parent) + f"; the newest there are: {newest}"
    what = f"no package {wanted.name!r}{parent} was found that {_python()} can use"
    return f"{what}. Check its name; it may also not be on this index, or have no file for this Python"


def _needs_python(package: str, needs: str, ours: str) -> str:
    return f"{package} needs Python {needs}, and this is {ours}. Choose another version of it"


def _none_for_this_python(wanted: Requirement, parent: str) -> str:
    version = _pin(wanted)
    what = f"{wanted.name} {version}" if version else f"{wanted.name} {wanted.specifier}".strip()
    return f"no version of {what}{parent} for this Python ({_python_version()})"


def _build(lines: Sequence[str]) -> str:
    begin = next((i for i, line in enumerate(lines) if _BLOCK_BEGINS.search(line)), None)
    if begin is None:
        return ""
    end = next((i for i in range(begin, len(lines)) if lines[i].strip() == _BLOCK_ENDS), len(lines))
    block = [line.strip() for line in lines[begin + 1 : end] if line.strip()]
    head = lines[:begin]
    package = _package(head)
    code = next((int(m["code"]) for line in reversed(head) if (m := _EXIT_CODE.search(line))), 1)
    step = next((m["step"] for line in reversed(head) if (m := _STEP.search(line))), "")
    if "build dependencies" in step:
        return f"what building {package} needs cannot be installed: {explain(block)}"
    if code < 0:
        return _killed(f"the build of {package}", code)
    return f"{package} has no wheel for this Python, and building it failed: {_of_build(block, package)}"


def _of_build(block: Sequence[str], package: str) -> str:
    """What the output of a build script means."""
    other = f"Choose another version of {package.partition(' ')[0]}, one with a wheel"
    for line in block:
        for sign, tool in _TOOLS:
            if sign.search(line):
                return f"it needs {tool}, which this machine lacks. Install it, or choose a version with a wheel"
    for line in block:
        if found := _HEADER.search(line):
            what = "the headers of Python" if found["header"] == "Python.h" else f"the header {found['header']!r}"
            return f"it needs {what}, which this machine lacks. Install it, or choose a version with a wheel"
    for line in reversed(block):
        if found := _MISSING_MODULE.search(line):
            is_old = found["module"].partition(".")[0] in _OLD_TOOLS
            why = "is for older build tools" if is_old else "needs it to be installed before"
            return f"{found['what']}: its build script {why}. {other}"
    if any(words in line for line in block for words in _PYTHON_2):
        return f"its build script is written for Python 2. {other}"
    last = next(
        (line for line in reversed(block) if _ERROR_LINE.match(line)), block[-1] if block else "it said nothing"
    )
    return f"{last.rstrip('.')}. {other}"


_FINDERS: Sequence[Callable[[Sequence[str]], str]] = (
    explain_no_space, _no_network, _refused, _hash_mismatch, _build, _conflict, _other_python, _no_version,
)  # fmt: skip
"""The surest signs first: a build that fails says more than what pip says of it."""


# ---- words


def _killed(what: str, code: int) -> str:
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    why = ", mostly for want of memory" if code == -signal.SIGKILL else ""
    return f"{what} was killed ({name}{why}). Try again when the machine has more room"


def _package(head: Sequence[str]) -> str:
    """What was worked on last: ``oldpkg 1.0``."""
    for line in reversed(head):
        if found := _BEGUN.match(line.strip()):
            what = found["what"].split("#")[0]
            if name := _FILE_NAME.match(what):
                return f"{name['name']} {name['version']}"
            requirement = _requirement(what)
            version = _pin(requirement) if requirement else None
            return f"{requirement.name} {version or ''}".strip() if requirement else what
    return "a package"


def _requirement(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


def _pin(requirement: Requirement) -> str | None:
    """The version that alone will do."""
    pins = [s.version for s in requirement.specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    return pins[0] if pins else None


def _names_of(parent: str) -> str:
    return parent.partition("->")[0].strip()


def _python_version() -> str:
    return ".".join(map(str, sys.version_info[:2]))


def _python() -> str:
    return f"this Python ({_python_version()})"
