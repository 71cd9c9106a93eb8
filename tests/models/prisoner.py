"""A hostile model: at its upload, in training and in serving it tries each way out of its box that it knows.

A way is a function; what it returns is what it reached. The test puts into FACTS what a real attacker would have to
guess: that makes the attempts stronger, not weaker.
"""

import ctypes
import errno
import fcntl
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import urllib.request

from rafiki.model import BaseModel, FixedKnob, utils

FACTS = {}
# Numbers of system calls that the C library has no function for.
CALLS = {
    "x86_64": {
        "ptrace": 101,
        "keyctl": 250,
        "perf_event_open": 298,
        "process_vm_readv": 310,
        "bpf": 321,
        "userfaultfd": 323,
    },
    "aarch64": {
        "ptrace": 117,
        "keyctl": 219,
        "perf_event_open": 241,
        "process_vm_readv": 270,
        "bpf": 280,
        "userfaultfd": 282,
    },
}.get(platform.machine(), {}) | {
    "io_uring_setup": 425,
    "open_tree": 428,
    "fsopen": 430,
    "clone3": 435,
    "mount_setattr": 442,
    "file_setattr": 469,
}
PTRACE_PEEKDATA, F_SETLEASE, SYSLOG_READ_ALL = 2, 1024, 3
SESSION_KEYRING, USER_KEYRING = -3, -4
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000


def read(path):
    with open(path, "rb") as file:
        return file.read(100)


def append(path):
    with open(path, "ab") as file:
        file.write(b"x")
    return f"wrote {path}"


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(address)
    return f"connected to {address}"


def ask_cache(*words, path="/run/rafiki/doors/cache.sock", log_in=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(3)
        sock.connect(path)
        for command in filter(None, (log_in, words)):
            sock.sendall(b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in command))
            answer = sock.recv(4096)
    if answer.startswith(b"-"):
        raise PermissionError(answer)
    return answer


def ask_admin(method, path, token=None, body=None):
    import http.client

    connection = http.client.HTTPConnection("localhost", timeout=3)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(3)
    connection.sock.connect("/run/rafiki/doors/admin.sock")
    connection.request(method, path, body, {"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    if answer.status >= 400:
        raise PermissionError(f"HTTP {answer.status}")
    return f"HTTP {answer.status}: {answer.read(200)!r}"


def own_spec():
    import msgspec

    return msgspec.msgpack.decode(read_all("/run/rafiki/spec"))


def read_all(path):
    with open(path, "rb") as file:
        return file.read()


def libc(name, *arguments):
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"{name} worked"


def call(name, *arguments):
    """A system call that is not refused: what it answers, its own errors included."""
    library = ctypes.CDLL(None, use_errno=True)
    answer = library.syscall(ctypes.c_long(CALLS[name]), *map(ctypes.c_long, arguments))
    if answer < 0 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        raise OSError(ctypes.get_errno(), name)
    return f"{name} is there: {answer}, errno {ctypes.get_errno()}"


def own_log(change):
    """What a model may do with the one file of the stack that it has open: write."""
    return change(sys.__stdout__.fileno()) or "changed"


WAYS = {
    # ---- files of the stack and of the user
    "the stack's secrets": lambda: read(f"{FACTS['root']}/secrets.json"),
    "the superadmin's password": lambda: read(f"{FACTS['root']}/superadmin-password"),
    "the database": lambda: read(f"{FACTS['root']}/meta.db"),
    # Where the stack lies under /tmp the box may have a folder of that name, of its own: the test looks outside.
    "write into the stack's folder": lambda: append(f"{FACTS['root']}/marker") and None,
    "parameters of others": lambda: os.listdir(f"{FACTS['root']}/params") or None,
    "a dataset of others": lambda: read(FACTS["other_dataset"]),
    "logs of others": lambda: os.listdir(f"{FACTS['root']}/logs") or None,
    "specs of others": lambda: [f for f in os.listdir("/run/rafiki") if f not in ("spec", "doors", "direct")] or None,
    # A worker that serves has the sockets of its own job's predictors there.
    "a socket in the predictors' place": lambda: append("/run/rafiki/direct/mine.sock"),
    "the predictors of other jobs": lambda: os.listdir(f"{FACTS['root']}/run/direct") or None,
    "a file of the user": lambda: read(FACTS["user_file"]),
    "write a file of the user": lambda: append(FACTS["user_file"]) and None,
    "the user's home": lambda: os.listdir(FACTS["home"] + "/.ssh"),
    "write Rafiki itself": lambda: append(os.path.dirname(sys.modules["rafiki"].__file__) + "/__init__.py"),
    "write a package": lambda: append(sys.modules["msgspec"].__file__),
    "write the system": lambda: append("/usr/marker"),
    "passwords of the system": lambda: read("/etc/shadow"),
    "private keys of the system": lambda: os.listdir("/etc/ssl/private") or "listed",
    "a log that runs as the stack's user": lambda: own_log(lambda log: os.fchmod(log, 0o4755)),
    "a log that nobody can open": lambda: own_log(lambda log: fcntl.fcntl(log, F_SETLEASE, fcntl.F_WRLCK)),
    # ---- mounts and devices
    "make a mount writable": lambda: libc("mount", None, b"/usr", None, MS_REMOUNT | MS_BIND, None),
    "a mount of its own": lambda: libc("unshare", CLONE_NEWNS),
    "a user namespace": lambda: libc("unshare", CLONE_NEWUSER),
    "the machine's disk": lambda: [d for d in os.listdir("/dev") if d.startswith(("vd", "sd", "nvme", "mem"))] or None,
    "a device of its own": lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)) or "made",
    "the kernel's settings": lambda: append("/proc/sys/kernel/core_pattern"),
    "the kernel's memory": lambda: read("/proc/kcore"),
    "control groups": lambda: os.mkdir("/sys/fs/cgroup/mine") or "made",
    # ---- the kernel: calls that models have no use for
    "keys of the session": lambda: call("keyctl", 0, SESSION_KEYRING, 0),
    "keys of the user": lambda: call("keyctl", 0, USER_KEYRING, 1),
    "programs in the kernel": lambda: call("bpf", 0, 0, 0),
    "counters of the processor": lambda: call("perf_event_open", 0, 0, -1, -1, 0),
    "faults of pages": lambda: call("userfaultfd", 0),
    "rings of requests": lambda: call("io_uring_setup", 1, 0),
    "trace a process": lambda: call("ptrace", PTRACE_PEEKDATA, 1 << 21, 0, 0),
    "read the memory of a process": lambda: call("process_vm_readv", 1, 0, 0, 0, 0, 0),
    "the newer calls for mounts": lambda: call("open_tree", -100, 0, 0),
    "a file system": lambda: call("fsopen", 0, 0),
    "other flags of a mount": lambda: call("mount_setattr", -100, 0, 0, 0, 0),
    "a process with namespaces of its own": lambda: call("clone3", 0, 0),
    "a call of a kernel to come": lambda: call("file_setattr", -100, 0, 0, 0, 0),
    "the kernel's log": lambda: klog(),
    # ---- processes
    "other processes": lambda: [p for p in processes() if b"rafiki.admin" in read(f"/proc/{p}/cmdline")] or None,
    "a signal to the admin": lambda: os.kill(FACTS["admin_pid"], 0) or "signalled",
    "a signal to all": lambda: os.kill(FACTS["admin_pid"], signal.SIGCONT) or "signalled",
    "become somebody else": lambda: subprocess.run(["su", "nobody", "-s", "/bin/true"], check=True) and "became",
    # ---- the network
    "the admin by the network": lambda: connect(socket.AF_INET, ("127.0.0.1", FACTS["admin_port"])),
    "the cache by the network": lambda: connect(socket.AF_INET, ("127.0.0.1", FACTS["cache_port"])),
    "a server of this machine": lambda: connect(socket.AF_INET, ("127.0.0.1", FACTS["server_port"])),
    "another address of this machine": lambda: connect(socket.AF_INET, (FACTS["address"], FACTS["server_port"])),
    "an abstract socket": lambda: connect(socket.AF_UNIX, "\0" + FACTS["abstract"]),
    "a name": lambda: socket.getaddrinfo("example.org", 80),
    "the host of a virtual machine": lambda: socket.socket(40, socket.SOCK_STREAM) and "a socket",
    "ciphers of the kernel": lambda: socket.socket(38, socket.SOCK_SEQPACKET) and "a socket",
    "packets": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW) and "a socket",
    "events of the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) and "a socket",
    "the cloud's metadata": lambda: urllib.request.urlopen("http://169.254.169.254/", timeout=3).read(10),
    # ---- the doors
    "the admin's calls by its door": lambda: ask_admin("GET", "/"),
    "log in by the door": lambda: ask_admin("POST", "/tokens", body=json.dumps(FACTS["login"])),
    "the spec of somebody": lambda: ask_admin("GET", "/services/self/spec", token="x" * 40),
    "parameters of others by the door": lambda: ask_admin(
        "GET", f"/stores/params/{FACTS['other_params']}", token=own_spec()["params"]["credential"]),
    "overwrite parameters of others": lambda: ask_admin(
        "PUT", f"/stores/params/{FACTS['other_params']}", token=own_spec()["params"]["credential"], body=b"x"),
    "remove parameters of others": lambda: ask_admin(
        "DELETE", f"/stores/params/{FACTS['other_params']}", token=own_spec()["params"]["credential"]),
    "write beside parameters of others": lambda: ask_admin(
        "PUT", f"/stores/params/{FACTS['other_params']}/validation", token=own_spec()["params"]["credential"],
        body=b"x"),
    "a file of the stack by the door": lambda: ask_admin(
        "GET", "/stores/params/..%2F..%2Fsecrets.json", token=own_spec()["params"]["credential"]),
    "a dataset of others by the door": lambda: ask_admin(
        "GET", f"/stores/datasets/{FACTS['other_store_id']}", token=own_spec()["params"]["credential"]),
    "all datasets by the door": lambda: ask_admin("GET", "/stores/datasets", token=own_spec()["params"]["credential"]),
    "the cache without a password": lambda: ask_cache(b"KEYS", b"*"),
    "the cache's settings": lambda: ask_cache(b"CONFIG", b"GET", b"requirepass", log_in=cache_login()),
    "the cache's users": lambda: ask_cache(b"ACL", b"LIST", log_in=cache_login()),
    "keys of others in the cache": lambda: ask_cache(b"GET", b"rafiki:somebody:key", log_in=cache_login()),
    "events of others": lambda: ask_cache(
        b"XADD", b"rafiki:somebody:job:events", b"*", b"e", b"x", log_in=cache_login()),
    "listen to others": lambda: ask_cache(b"SUBSCRIBE", b"rafiki:somebody:changes", log_in=cache_login()),
    "speak for others": lambda: ask_cache(b"PUBLISH", b"rafiki:somebody:reports", b"x", log_in=cache_login()),
    "programs in the cache": lambda: ask_cache(b"EVAL", b"return 1", b"0", log_in=cache_login()),
    "other users of the cache": lambda: ask_cache(b"AUTH", b"default", b"password"),
    "empty the cache": lambda: ask_cache(b"FLUSHALL", log_in=cache_login()),
    # ---- too much
    "a full disk": lambda: fill("/tmp/large"),
    "a full memory disk": lambda: fill("/dev/shm/large"),
    "a full folder of devices": lambda: fill("/dev/large"),
    "write beside its temporary folder": lambda: append("/marker"),
}  # fmt: skip


def klog():
    size = ctypes.CDLL(None).klogctl(SYSLOG_READ_ALL, ctypes.create_string_buffer(1000), 1000)
    return f"{size} bytes" if size > 0 else None


def processes():
    return [p for p in os.listdir("/proc") if p.isdecimal()]


def cache_login():
    cache = own_spec()["cache"]
    return b"AUTH", cache["username"].encode(), cache["password"].encode()


def fill(path):
    """More than a box's temporary folder holds."""
    try:
        with open(path, "wb") as file:
            for _ in range(FACTS["tmp_mb"] + 32):
                file.write(bytes(1 << 20))
        return f"wrote {FACTS['tmp_mb'] + 32} MB"
    finally:
        os.unlink(path)


def try_all(where):
    """The ways that led somewhere, with what was reached."""
    reached = {}
    for name, way in WAYS.items():
        try:
            found = way()
        except BaseException as e:
            del e
            continue
        if found is not None:
            reached[name] = repr(found)[:200]
    # A daemon that is to outlive the box, and can be told by its name.
    subprocess.Popen(["sleep", FACTS["daemon_s"][where]], start_new_session=True, env={}, stdout=subprocess.DEVNULL)
    return {"where": where, "n_ways": len(WAYS), "reached": reached}


class Prisoner(BaseModel):
    @staticmethod
    def get_knob_config():
        tried = json.dumps(try_all("upload")) if "RAFIKI_SERVICE_ID" not in os.environ else ""
        return {"report": FixedKnob(tried)}

    def train(self, dataset_path, shared_params=None, **train_args):
        tried = try_all("training")
        try:
            append(dataset_path)
            tried["reached"]["write its dataset"] = "written"
        except OSError:
            pass
        utils.logger.log("REPORT " + json.dumps(tried))

    def evaluate(self, dataset_path):
        return 0.5

    def predict(self, queries):
        return [try_all("serving") for _ in queries]

    def dump_parameters(self):
        return {"x": 1}

    def load_parameters(self, params):
        pass
