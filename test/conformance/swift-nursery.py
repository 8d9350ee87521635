"""Swift's servers as children of one process that has loaded their code already, so that one that was killed is there again in a fraction of a second.

Reads lines `NAME CONFIGURATION`, starts that server, and answers `started NAME PID`. Ends with its standard input; its children end with it.
"""

import ctypes
import os
import signal
import sys

import swift.account.server
import swift.container.server
import swift.obj.server
import swift.proxy.server
from swift.common import wsgi
from swift.common.middleware import bulk, catch_errors, dlo, listing_formats, memcache, proxy_logging, slo, symlink, tempauth
from swift.common.middleware.s3api import s3api
from swift.common.middleware.versioned_writes import object_versioning

PR_SET_PDEATHSIG = 1


def line():
    """Byte by byte: nothing that is buffered here may be a child's."""
    read = b''
    while not read.endswith(b'\n'):
        byte = os.read(0, 1)
        if byte == b'':
            sys.exit(0)
        read += byte
    return read.decode().split()


def serve(name, configuration, parent):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Its words are for the log, and not between our answers.
    os.dup2(2, 1)
    try:
        code = wsgi.run_wsgi(configuration, name + '-server', verbose=True)
    except BaseException as error:
        print(name, 'ended:', repr(error), file=sys.stderr, flush=True)
        code = 1
    os._exit(code or 0)


# Who is dead is gone, and no zombie that still looks alive.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
parent = os.getpid()
print('ready', flush=True)
while True:
    name, configuration = line()
    child = os.fork()
    if child == 0:
        serve(name, configuration, parent)
    print('started', name, child, flush=True)
