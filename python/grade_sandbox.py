"""Runs a stranger's code with limits: the grader's guard against accidents.

Two halves of one arrangement. run() starts this file as a program in a session of its own, reads what it prints and what it finds, watches its
processes, and kills all of them when it is done or over a limit. main(), in that program, first puts limits on itself, then works through the parts of one
question (grade_checks.py) and reports each on a pipe of its own.

Guarded: endless loops, sys.exit, huge allocations, floods of output, fork bombs, files that never stop growing, writing and deleting outside the working
folder, and the network. It keeps mistakes from doing harm. It is no wall against someone who means harm: for that, use a container or a virtual machine.
"""
import contextlib
import ctypes
import json
import mmap
import os
import re
import resource
import secrets
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MEMORY = 3 << 30        # bytes of address space for each process, and of resident memory for all of them together
OUTPUT = 5 << 20        # bytes printed before the program is stopped
FILE = 100 << 20        # bytes in one file
PROCESSES = 40          # started in all
KEPT = 4000             # characters of output kept for the report


# ---------------------------------------------------------------- outside: start, watch, kill

interrupted = threading.Event()     # set it to end all runs at once


class Ran:
    """What came of one run: the events that were reported, the last of the output, and why it was stopped (None if it ended by itself)."""

    def __init__(self):
        self.events, self.output, self.printed, self.stopped, self.status = [], '', 0, None, None

    @property
    def finished(self):
        return any('finished' in event for event in self.events)


def run(config, folder, seconds):
    """Work through config['question'] in folder, for at most seconds. Returns a Ran; nothing that was started is left running."""
    token = secrets.token_hex(8)
    read, write = os.pipe()
    tmp = folder.parent / 'tmp'
    tmp.mkdir(exist_ok=True)
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'NUMEXPR_NUM_THREADS'), '1')
    keep = {k: v for k, v in os.environ.items() if k in ('PATH', 'LANG', 'LC_ALL', 'LD_LIBRARY_PATH', 'VIRTUAL_ENV', 'PYTHONHOME')}
    env = {**keep, **threads, 'HOME': str(tmp), 'TMPDIR': str(tmp), 'MPLBACKEND': 'agg', 'MPLCONFIGDIR': str(config.get('matplotlib', tmp)),
           'PYTHONDONTWRITEBYTECODE': '1', 'PYTHONIOENCODING': 'utf-8:replace', 'GRADER_RUN': token}
    config = {**config, 'report': write, 'seconds': seconds, 'root': str(folder.parent)}
    try:
        process = subprocess.Popen([sys.executable, str(HERE / 'grade_sandbox.py'), json.dumps(config)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(write,), start_new_session=True)
    finally:
        os.close(write)
    try:
        return watch(process, read, time.monotonic() + seconds)
    finally:
        kill(process, token)
        os.close(read)
        for stream in (process.stdout, process.stderr):
            stream.close()


def watch(process, read, deadline):
    """Collect what process prints and reports until it ends, or until it is over a limit."""
    ran, reports, text = Ran(), bytearray(), bytearray()
    checked = 0.0
    with selectors.DefaultSelector() as selector:
        for stream in (process.stdout.fileno(), process.stderr.fileno(), read):
            os.set_blocking(stream, False)
            selector.register(stream, selectors.EVENT_READ)
        while not ran.stopped:
            ended = process.poll() is not None      # asked before reading, so that nothing it wrote is missed
            for key, _ in selector.select(0 if ended else 0.05):
                drain(selector, key.fd, reports if key.fd == read else text, ran, key.fd == read)
            if ended:
                break
            now = time.monotonic()
            if now > deadline or interrupted.is_set():
                ran.stopped = 'time'
            elif ran.printed > OUTPUT:
                ran.stopped = 'output'
            elif now - checked > 0.1:
                checked, (count, memory) = now, session_use(process.pid)
                ran.stopped = 'processes' if count > PROCESSES + 5 else 'memory' if memory > MEMORY else None
    ran.status = process.poll()
    ran.output = text[-KEPT:].decode('utf-8', 'replace')
    for line in reports.split(b'\n'):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                ran.events.append(event)
    return ran


def drain(selector, fd, buffer, ran, is_report):
    """Read what fd has to give; of the output keep the end only."""
    for _ in range(32):
        try:
            block = os.read(fd, 65536)
        except BlockingIOError:
            return
        if not block:
            selector.unregister(fd)
            return
        buffer += block
        if is_report:
            if len(buffer) > 1 << 20:
                ran.stopped = 'output'
        else:
            ran.printed += len(block)
            del buffer[:-2 * KEPT]
        if ran.printed > OUTPUT:
            return


def session_use(session):
    """(number of processes, bytes of resident memory) of a session; (0, 0) where there is no /proc."""
    count = pages = 0
    for stat in proc_files('stat'):
        fields = stat.rpartition(b')')[2].split()
        if len(fields) > 21 and int(fields[3]) == session and fields[0] != b'Z':
            count, pages = count + 1, pages + int(fields[21])
    return count, pages * resource.getpagesize()


def proc_files(name):
    """The contents of /proc/*/name that can be read."""
    for folder in (Path('/proc').glob('[0-9]*') if Path('/proc/self').exists() else ()):
        with contextlib.suppress(OSError):
            yield (folder / name).read_bytes()


def kill(process, token):
    """Kill process, its group, and whatever else it started: every process that inherited token in its environment."""
    mark = f'GRADER_RUN={token}'.encode()
    for _ in range(5):
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        left = []
        for folder in (Path('/proc').glob('[0-9]*') if Path('/proc/self').exists() else ()):
            with contextlib.suppress(OSError):
                if mark in (folder / 'environ').read_bytes():
                    left.append(int(folder.name))
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not left:
            return


# ---------------------------------------------------------------- inside: limits on oneself

class Reporter:
    """Writes events, one JSON object a line, to the grader's pipe; only from the process that was started, never from what it forks."""

    def __init__(self, fd):
        os.set_inheritable(fd, False)
        self.fd, self.pid = fd, os.getpid()

    def __call__(self, **event):
        if os.getpid() != self.pid:
            return
        line = json.dumps(event).encode() + b'\n'
        while line:
            line = line[os.write(self.fd, line):]


def limit_resources(seconds):
    """Address space, file size, CPU time, core dumps, and processes where the system counts them for this user."""
    def limit(what, most):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))
    limit(resource.RLIMIT_AS, MEMORY)
    limit(resource.RLIMIT_FSIZE, FILE)
    limit(resource.RLIMIT_CPU, int(seconds) + 2)
    limit(resource.RLIMIT_CORE, 0)
    mine = rb'^Uid:\t%d\t' % os.getuid()
    running = sum(int(re.search(rb'^Threads:\t(\d+)', status, re.M)[1]) for status in proc_files('status') if re.search(mine, status, re.M))
    if running:
        limit(resource.RLIMIT_NPROC, running + 4 * PROCESSES)     # the system counts all the user's threads; the hook below counts this run's processes


def leave_the_network():
    """Move to a network namespace without interfaces. Returns whether the system permits it; the hook below reports attempts everywhere."""
    NEWUSER, NEWNET = 0x10000000, 0x40000000
    try:
        unshare = ctypes.CDLL(None, use_errno=True).unshare
    except (OSError, AttributeError):
        return False
    uid, gid = os.getuid(), os.getgid()
    if unshare(NEWNET) == 0:
        return True
    if unshare(NEWUSER | NEWNET) == 0:
        with contextlib.suppress(OSError):      # keep one's own user number in the new user namespace
            Path('/proc/self/setgroups').write_text('deny')
            Path('/proc/self/uid_map').write_text(f'{uid} {uid} 1')
            Path('/proc/self/gid_map').write_text(f'{gid} {gid} 1')
        return True
    return False


WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {'os.remove': 1, 'os.rename': 2, 'os.rmdir': 1, 'os.mkdir': 1, 'os.truncate': 1, 'shutil.rmtree': 1, 'os.chmod': 1, 'os.chown': 1,
           'os.link': 2, 'os.symlink': 2, 'shutil.move': 2}
NETWORK = {'socket.connect': 1, 'socket.getaddrinfo': 0, 'socket.gethostbyname': 0, 'socket.sendto': 1, 'socket.bind': 1}
STARTS = {'os.fork', 'os.forkpty', 'subprocess.Popen', 'os.system', 'os.posix_spawn', 'os.exec'}
NET_PROGRAMS = re.compile(r'\b(curl|wget|git|pip|ssh|scp|nc|ftp)\b')


def install_hook(tell, allowed, cut_off):
    """An audit hook that refuses network, too many processes, and changes to files outside the folders allowed; each is reported once.

    cut_off says whether the process has no network in any case: if not, programs that would use it are not started.
    """
    started = mmap.mmap(-1, 8)      # shared with every fork
    told = set()
    roots = tuple(os.path.realpath(a) for a in allowed)

    def report(**event):
        if str(event) not in told:
            told.add(str(event))
            tell(**event)

    def inside(path):
        if isinstance(path, int) or path is None:
            return True
        path = os.fsdecode(path)
        real = os.path.join(os.path.realpath(os.path.dirname(path) or '.'), os.path.basename(path))
        return real.startswith('/dev/') or any(real == root or real.startswith(root + os.sep) for root in roots)

    def hook(event, args):
        if event == 'open':
            if args[2] & WRITES if isinstance(args[2], int) and args[2] else any(c in str(args[1] or '') for c in 'wax+'):
                if not inside(args[0]):
                    report(outside=os.fsdecode(args[0])[:200])
                    raise PermissionError(f'the grader lets nothing be written outside the working folder: {os.fsdecode(args[0])}')
        elif event in CHANGES:
            if isinstance(args[-1], int) and args[-1] not in (-1, 0) and event in ('os.remove', 'os.rmdir', 'os.mkdir'):
                return      # relative to an open folder: shutil.rmtree's own steps, and rmtree was asked about
            for path in args[:CHANGES[event]]:
                if not inside(path):
                    report(outside=os.fsdecode(path)[:200])
                    raise PermissionError(f'the grader lets nothing be changed outside the working folder: {os.fsdecode(path)}')
        elif event in NETWORK:
            address = args[NETWORK[event]]
            if isinstance(address, (str, bytes)) and event != 'socket.getaddrinfo' and event != 'socket.gethostbyname':
                return      # a local socket, a file
            address = args[:2] if event == 'socket.getaddrinfo' else address
            where = ':'.join(str(a) for a in address[:2]) if isinstance(address, tuple) else f'{address}'
            report(network=where[:200])
            raise PermissionError(f'the grader allows no network ({where})')
        elif event in STARTS:
            if event != 'os.exec':
                count = struct.unpack('q', started[:])[0] + 1
                started[:] = struct.pack('q', count)
                if count > PROCESSES:
                    report(processes=PROCESSES)
                    raise PermissionError(f'more than {PROCESSES} processes')
            words = args[1] if event == 'subprocess.Popen' and isinstance(args[1], (list, tuple)) else args[:1]
            command = ' '.join(os.fsdecode(word) for word in words)
            if NET_PROGRAMS.search(command):
                report(network=command[:200])
                if not cut_off:
                    raise PermissionError(f'the grader allows no network ({command[:200]})')
    sys.addaudithook(hook)


def main():
    config = json.loads(sys.argv[1])
    tell = Reporter(config['report'])
    folder = Path.cwd()
    sys.path[0], sys.argv = str(HERE), ['grade.py']
    import grade_checks, grade_scripts  # noqa: F401  grade_scripts adds its parts to grade_checks.PARTS
    student = grade_checks.Student(folder, kit=config.get('kit'), tell=tell)
    checks = grade_checks.PARTS[config['question']]
    if config['question'] == 'Q3.1.1':
        import experiment  # noqa: F401  the grader's own, for opening pickles; no student's code runs in this question
    sys.path[0] = str(folder)
    limit_resources(config['seconds'])
    cut_off = leave_the_network()
    install_hook(tell, [config['root'], config.get('matplotlib', config['root'])], cut_off)
    student.stand_in_for_removed_names()
    for name, _, function in checks:
        tell(begin=name)
        try:
            tell(end=name, why=grade_checks.run_part(student, function))
        except grade_checks.LookYourself as reason:
            tell(look=str(reason))
            break
        for sentence in student.advice:
            tell(advice=sentence)
        student.advice.clear()
        if os.getpid() != tell.pid:
            os._exit(0)     # a fork of the student's code that came back here
    tell(finished=True)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(0)     # no waiting for threads that the student left behind


if __name__ == '__main__':
    main()
