"""The kernel in which a student's notebook is executed: python tools/grading_kernel.py -f CONNECTION_FILE

tools/grade.py makes the folder `GRADING_FOLDER`, the only place where this process may write, and gives it a clean
environment. The limits come from there too: bytes of memory, seconds of processor time, characters of output a cell.

Writing elsewhere, other processes and the network are refused by Python's audit hooks on every system, and by Landlock,
which a program cannot undo, where Linux has it; there, files outside the folder and the installed packages cannot even
be read. Against a student who attacks in earnest, use a container (assignments/README.md).
"""

import ctypes
import os
import pathlib
import resource
import signal
import sys
import threading

ROOT = pathlib.Path(__file__).resolve().parents[1]

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"remove", "rename", "rmdir", "mkdir", "truncate", "chmod", "chown", "link", "symlink", "utime", "setxattr"}
CHANGES = {f"os.{name}" for name in CHANGES}
PROCESSES = {"subprocess.Popen", "pty.spawn", "os.kill", "os.killpg"}
PROCESSES |= {f"os.{name}" for name in ("exec", "fork", "forkpty", "posix_spawn", "spawn", "system")}
NETWORK = {
    f"socket.{name}" for name in ("connect", "getaddrinfo", "gethostbyname", "gethostbyaddr", "sendto", "sendmsg")
}

# Landlock (linux/landlock.h): what is handled is forbidden unless a rule allows it.
LANDLOCK_CREATE, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT = 444, 445, 446
READ = 1 << 2 | 1 << 3  # files, folders
WRITE_FILE, REFER, TRUNCATE = 1 << 1, 1 << 13, 1 << 14
WRITE = WRITE_FILE | sum(1 << bit for bit in range(4, 13))  # and make, remove
CONNECT_TCP = 1 << 1
SHOWN = {"display_data", "update_display_data", "execute_result"}
MAX_SHOWN = 5_000_000  # characters of figures and values a cell

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38


class Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64))


class PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


def limit(memory, seconds):
    """Limits this process; a kernel whose grading ended must end too, however busy it is."""
    limits = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_FSIZE: 100_000_000, resource.RLIMIT_CORE: 0}
    # On Linux RLIMIT_DATA counts what is really used; TensorFlow alone reserves far more addresses than that.
    limits[resource.RLIMIT_DATA] = memory
    for name, value in limits.items():
        hard = resource.getrlimit(name)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(name, (value, value))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def lock_files_and_network(folder):
    """Applies Landlock, if this is a Linux that has it."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return
    write = WRITE | (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    ruleset = Ruleset(READ | write, CONNECT_TCP if version >= 4 else 0)
    size = ctypes.sizeof(ruleset) if version >= 4 else 8
    handle = libc.syscall(LANDLOCK_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    readable = ["/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt", sys.prefix, sys.base_prefix]
    rules = {path: READ for path in [*readable, *filter(os.path.isdir, sys.path)]} | {ROOT / "aelib": READ}
    rules |= {folder: READ | write, "/dev/null": 1 << 2 | WRITE_FILE}
    for path, allowed in rules.items():
        try:
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue  # not every system has every one of them
        rule = PathBeneath(allowed, opened)
        libc.syscall(LANDLOCK_ADD_RULE, handle, 1, ctypes.byref(rule), ctypes.c_uint32(0))
        os.close(opened)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(LANDLOCK_RESTRICT, handle, ctypes.c_uint32(0)):
        sys.exit(f"Landlock refused: {os.strerror(ctypes.get_errno())}")
    os.close(handle)


def refuse(folder):
    """Installs the audit hook; it stays until the process ends."""

    def inside(path):
        path = os.path.realpath(os.fsdecode(path))
        return path == os.devnull or path.startswith(folder + os.sep)

    def hook(event, arguments):
        if event == "open":
            path, _, flags = arguments
            named = isinstance(path, str | bytes | os.PathLike)
            if named and isinstance(flags, int) and flags & WRITING and not inside(path):
                raise PermissionError(
                    f"While grading, files are written in the notebook's own folder only, not {path!r}."
                )
        elif event in CHANGES:
            for path in arguments[:2]:
                if isinstance(path, str | bytes | os.PathLike) and not inside(path):
                    raise PermissionError(
                        f"While grading, nothing outside the notebook's own folder is changed: {path!r}."
                    )
        elif event in PROCESSES:
            raise PermissionError("While grading, a notebook cannot start or end other processes.")
        elif event in NETWORK:
            raise PermissionError("While grading, there is no network.")

    sys.addaudithook(hook)


def end_the_cell_only(app):
    """Whoever ends Python ends the cell, and the rest of the notebook is graded."""
    end_process = os._exit

    def end(*_):
        if threading.current_thread() is not threading.main_thread():
            end_process(1)  # ipykernel's own, when its parent is gone
        raise SystemExit("The notebook ended Python here.")

    os._exit = os.abort = end
    app.shell.ask_exit = end


def limit_output(app, characters):
    """Stops a cell that prints more; and what is printed as a warning must not count as an error of a test."""
    stream, session = type(sys.stdout), app.session
    write, send, printed, shown = stream.write, session.send, [0], [0]

    def limited(self, text):
        printed[0] += len(text)
        if printed[0] > characters:
            raise RuntimeError(f"The cell prints more than {characters:,} characters.")
        return write(self, text)

    def limited_send(channel, message, *arguments, **options):
        if isinstance(message, dict) and message.get("msg_type") in SHOWN:
            shown[0] += sum(len(str(value)) for value in message["content"]["data"].values())
            if shown[0] > MAX_SHOWN:
                message["content"]["data"] = {"text/plain": f"The cell shows more than {MAX_SHOWN:,} characters."}
        return send(channel, message, *arguments, **options)

    def begin(*_):
        printed[0] = shown[0] = 0

    stream.write, session.send = limited, limited_send
    sys.stderr.name = "stdout"  # nbgrader takes any text on stderr for a failed test
    app.shell.events.register("pre_run_cell", begin)


def main():
    folder = os.path.realpath(os.environ.pop("GRADING_FOLDER"))
    memory, seconds, characters = (int(os.environ.pop(f"GRADING_{name}")) for name in ("MEMORY", "SECONDS", "OUTPUT"))
    os.environ.pop("PYTHONPATH", None)
    own = {str(ROOT), str(ROOT / "tools")}
    sys.path[:] = [path for path in sys.path if path not in own]
    os.chdir(folder)
    limit(memory, seconds)
    lock_files_and_network(folder)
    refuse(folder)

    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(sys.argv[1:])
    os.chdir(folder)
    end_the_cell_only(app)
    limit_output(app, characters)
    app.start()


if __name__ == "__main__":
    main()
