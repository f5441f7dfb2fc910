"""What the operating system takes away from a task's process before any task code is loaded.

Linux: namespaces (user, network, IPC, mount, processes), Landlock, a seccomp filter, no capabilities.
Each is tried on its own and reported as enforced or not; nothing here imports more than the standard library,
because Landlock and seccomp bind only the threads started afterwards.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Policy", "confine", "system_paths"]

_LINUX = sys.platform.startswith("linux")
_libc = ctypes.CDLL(None, use_errno=True)

_CLONE = {"user": 0x10000000, "network": 0x40000000, "ipc": 0x08000000, "mount": 0x00020000, "pid": 0x20000000}
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22
_MS_REC, _MS_PRIVATE, _MS_RDONLY = 0x4000, 0x40000, 1

# Landlock rights of version 1; later versions add to them.
_FS_EXECUTE, _FS_WRITE_FILE, _FS_READ_FILE, _FS_READ_DIR = 1, 2, 4, 8
_FS_V1 = (1 << 13) - 1
_FS_REFER, _FS_TRUNCATE, _FS_IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FS_OF_FILES = _FS_EXECUTE | _FS_WRITE_FILE | _FS_READ_FILE | _FS_TRUNCATE | _FS_IOCTL_DEV

_SYSTEM_FOLDERS = (
    *("/usr", "/lib", "/lib64", "/lib32", "/bin", "/opt/cuda", "/nix/store"),
    *("/proc", "/sys/devices", "/sys/bus/pci", "/sys/module"),
)
_SYSTEM_FILES = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

# (x86-64, arm64) numbers of calls that reach other processes, the network or the kernel's insides.
_FORBIDDEN_CALLS = {
    "socket": (41, 198),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
}


@dataclass(frozen=True)
class Policy:
    """What the process may touch. Paths are absolute."""

    read: tuple[str, ...]
    """Folders and files it may read, beside Python and the system's libraries."""
    write: tuple[str, ...]
    """Folders it may write."""
    hide: tuple[str, ...]
    """Folders that are also covered by empty ones where the system allows it."""
    cpu_seconds: int = 0
    """0: unlimited."""
    memory_bytes: int = 0
    """0: unlimited. Address space; leave it 0 with CUDA."""
    file_bytes: int = 0
    """Largest file it may write; 0: unlimited."""


def system_paths() -> tuple[str, ...]:
    """Return what Python itself must read: its installation, its environment and the system's libraries."""
    found = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    found |= {str(Path(os.__file__).parent), str(Path(sys.executable).resolve().parent)}
    found |= set(_SYSTEM_FOLDERS) | set(_SYSTEM_FILES)
    return tuple(sorted(path for path in found if path != "/" and Path(path).exists()))


def confine(policy: Policy) -> dict[str, bool]:
    """Restrict this process for good and return what is enforced.

    Must run while the process has one thread. On Linux it may continue in a child that is the first process of
    its own process namespace; the caller does not notice.
    """
    client = os.getppid()
    enforced = {"resource_limits": _limit_resources(policy)}
    os.umask(0o077)
    if not _LINUX:
        return enforced
    enforced |= _enter_namespaces(client)
    enforced["keystore_covered"] = enforced["mount_namespace"] and all(_cover(path) for path in policy.hide)
    enforced["no_new_privileges"] = _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    enforced["no_capabilities"] = _drop_capabilities()
    version = _landlock_version()
    enforced["filesystem_allowlist"] = version > 0 and _landlock(policy, version)
    enforced["system_call_filter"] = _filter_calls()
    return enforced


def _prctl(option: int, value: int) -> bool:
    return bool(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)


def _limit_resources(policy: Policy) -> bool:
    limits = {resource.RLIMIT_CORE: 0}
    if policy.cpu_seconds:
        limits[resource.RLIMIT_CPU] = policy.cpu_seconds
    if policy.memory_bytes:
        limits[resource.RLIMIT_AS] = policy.memory_bytes
    if policy.file_bytes:
        limits[resource.RLIMIT_FSIZE] = policy.file_bytes
    try:
        for kind, value in limits.items():
            resource.setrlimit(kind, (value, value))
    except (OSError, ValueError):
        return False
    # Writing past the file limit then raises in the task instead of ending it without a word.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    return True


def _enter_namespaces(client: int) -> dict[str, bool]:
    uid, gid = os.getuid(), os.getgid()
    entered = dict.fromkeys(_CLONE, False)
    if _libc.unshare(_CLONE["user"]) == 0:
        entered["user"] = True
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError:
            pass
    for name in ("network", "ipc", "mount", "pid"):
        entered[name] = _libc.unshare(_CLONE[name]) == 0
    # Entering a user namespace forgets this request, so it comes after.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != client:
        os._exit(1)
    if entered["pid"]:
        _continue_as_first_process()
    return {
        "network_namespace": entered["network"],
        "ipc_namespace": entered["ipc"],
        "mount_namespace": entered["mount"],
        "process_namespace": entered["pid"],
    }


def _continue_as_first_process() -> None:
    """Fork; the parent only waits, so that whatever the task starts ends with the task."""
    child = os.fork()
    if child == 0:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    for fd in (0, *range(3, 64)):
        try:
            os.close(fd)
        except OSError:
            continue
    # Asked to end, it ends the child first, so that nothing stays for others to reap.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    _, status = os.waitpid(child, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _cover(path: str) -> bool:
    if not Path(path).is_dir():
        return True
    _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    done: int = _libc.mount(b"none", os.fsencode(path), b"tmpfs", ctypes.c_ulong(_MS_RDONLY), b"size=4k")
    return done == 0


def _drop_capabilities() -> bool:
    header = struct.pack("=Ii", 0x20080522, 0)
    return bool(_libc.capset(header, bytes(24)) == 0)


class _PathRule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("fd", ctypes.c_int32))


def _landlock_version() -> int:
    return max(0, int(_libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def _landlock(policy: Policy, version: int) -> bool:
    handled = _FS_V1
    handled |= _FS_REFER if version >= 2 else 0
    handled |= _FS_TRUNCATE if version >= 3 else 0
    handled |= _FS_IOCTL_DEV if version >= 5 else 0
    network = 3 if version >= 4 else 0
    scoped = 3 if version >= 6 else 0
    words = [handled, network, scoped][: 3 if version >= 6 else 2 if version >= 4 else 1]
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _libc.syscall(444, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    if ruleset < 0:
        return False
    try:
        read = _FS_READ_FILE | _FS_READ_DIR | _FS_EXECUTE
        _allow(ruleset, (*system_paths(), *policy.read), read & handled)
        _allow(ruleset, policy.write, (handled & ~_FS_IOCTL_DEV) & ~_FS_EXECUTE | _FS_READ_DIR)
        _allow(ruleset, (*_DEVICES, *_accelerators()), _FS_OF_FILES & handled & ~_FS_EXECUTE)
        return bool(_libc.syscall(446, ctypes.c_int(ruleset), ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)


def _accelerators() -> Iterable[str]:
    for pattern in ("nvidia*", "nvidia-caps/*", "dri/*", "kfd"):
        yield from (str(path) for path in Path("/dev").glob(pattern) if not path.is_dir())


def _allow(ruleset: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                continue
            raise
        try:
            granted = rights if Path(path).is_dir() else rights & _FS_OF_FILES
            rule = _PathRule(granted, fd)
            _libc.syscall(445, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(rule), ctypes.c_uint32(0))
        finally:
            os.close(fd)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _filter_calls() -> bool:
    """Answer forbidden calls with EPERM; a foreign instruction set ends the process."""
    machines = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
    if platform.machine() not in machines:
        return False
    architecture, column = machines[platform.machine()]
    numbers = [pair[column] for pair in _FORBIDDEN_CALLS.values()]
    load, jump_equal, jump_at_least, answer = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
    lines = [(load, 0, 0, 4), (jump_equal, 1, 0, architecture), (answer, 0, 0, kill), (load, 0, 0, 0)]
    # x32 numbers would slip past the list.
    lines.append((jump_at_least, len(numbers) + 1, 0, 0x40000000))
    for position, number in enumerate(numbers):
        lines.append((jump_equal, len(numbers) - position, 0, number))
    lines += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = _Program(len(lines), ctypes.cast(code, ctypes.c_void_p))
    done: int = _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(program), 0, 0)
    return done == 0
