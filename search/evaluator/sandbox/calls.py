"""Calls to the kernel that no engine makes, refused by seccomp: tracing, mounting, new namespaces, keyrings, clocks.

What is refused is what has been the way out of a container before: the list follows the default profiles of Docker and
of bubblewrap's users. A call fails with EPERM, as it would for want of a right; `clone3` with ENOSYS, so that the C
library falls back to `clone`, whose flags can be read.
"""

from __future__ import annotations

import errno
import platform
import struct
from functools import cache

# linux/filter.h, linux/seccomp.h: 16 bits of code, 8 + 8 bits of how far to jump, 32 bits of operand.
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER_AT, MACHINE_AT, FIRST_AT, SECOND_AT = 0, 4, 16, 24  # offsets in struct seccomp_data; low halves of arguments
NAMESPACES = 0x7E020000  # CLONE_NEW*; the low byte of `clone` is a signal
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI types into the terminal of whoever started us, TIOCLINUX pastes there
OTHER_ABI = 0x40000000  # x32's calls, numbered anew

# By name: the numbers of x86-64 and of arm64.
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
CLONE, CLONE3, IOCTL = (56, 220), (435, 435), (16, 29)
REFUSED = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97),
    "setns": (308, 268), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "open_by_handle_at": (304, 265),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161),
    "setdomainname": (171, 162),
}  # fmt: skip


@cache
def refusing() -> bytes:
    """Give the filter for this machine as the kernel reads it, nothing where its calls are not known here."""
    if platform.machine() not in MACHINES:
        return b""
    column, machine = MACHINES[platform.machine()]
    refuse = _step(RETURN, REFUSE | errno.EPERM)
    steps = [_step(LOAD, MACHINE_AT), _step(JUMP_EQUAL, machine, 1, 0), _step(RETURN, KILL), _step(LOAD, NUMBER_AT)]
    steps += [_step(JUMP_AT_LEAST, OTHER_ABI, 0, 1), refuse]
    for numbers in REFUSED.values():
        steps += [_step(JUMP_EQUAL, numbers[column], 0, 1), refuse]
    steps += [_step(JUMP_EQUAL, CLONE3[column], 0, 1), _step(RETURN, REFUSE | errno.ENOSYS)]
    steps += [_step(JUMP_EQUAL, CLONE[column], 0, 4), _step(LOAD, FIRST_AT), _step(JUMP_ANY_BIT, NAMESPACES, 0, 1)]
    steps += [refuse, _step(RETURN, ALLOW)]
    steps += [_step(JUMP_EQUAL, IOCTL[column], 0, 4), _step(LOAD, SECOND_AT)]
    steps += [_step(JUMP_EQUAL, TERMINAL_INPUT[0], 1, 0), _step(JUMP_EQUAL, TERMINAL_INPUT[1], 0, 1), refuse]
    return b"".join([*steps, _step(RETURN, ALLOW)])


def _step(code: int, operand: int, if_so: int = 0, if_not: int = 0) -> bytes:
    """Write one instruction; jumps skip so many of those that follow."""
    return struct.pack("=HBBI", code, if_so, if_not, operand)
