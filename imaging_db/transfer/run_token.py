"""Who holds a claim: a token that tells host, process and start, so that a dead owner is recognised."""

from __future__ import annotations

import os
import socket
import sys
import uuid
from pathlib import Path


def new_token() -> str:
    """Return a token that is unique to one claim of this process."""
    return f"{_host()}/{os.getpid()}/{_started(os.getpid())}/{uuid.uuid4().hex[:12]}"


def owner_name(token: str) -> str:
    """Return the owner for people: ``process 4711 on scope-pc``."""
    host, pid, *_ = [*token.split("/"), ""]
    return f"process {pid} on {host.split('@')[0]}" if pid else token


def is_dead(token: str) -> bool:
    """Return True only where the owner ran on this host and provably runs no more."""
    parts = token.split("/")
    if len(parts) != 4 or parts[0] != _host() or not parts[1].isdigit():
        return False
    pid = int(parts[1])
    if not _alive(pid):
        return True
    return _started(pid) not in ("", parts[2])  # the number was given to another process


def _host() -> str:
    """Return the host; on Linux with its boot and process-id namespace: names of hosts are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
        namespace = f"@{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        namespace = ""
    return socket.gethostname().replace("/", "_") + namespace


def _started(pid: int) -> str:
    """Return when a process started in clock ticks since boot; empty where the system does not tell."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[19]


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return _alive_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _alive_windows(pid: int) -> bool:
    import ctypes

    query_limited_information, still_active = 0x1000, 259
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined, unused-ignore]
    handle = kernel.OpenProcess(query_limited_information, False, pid)
    if not handle:
        return False
    try:
        code = ctypes.c_ulong()
        return (
            bool(kernel.GetExitCodeProcess(handle, ctypes.byref(code)))
            and code.value == still_active
        )
    finally:
        kernel.CloseHandle(handle)
