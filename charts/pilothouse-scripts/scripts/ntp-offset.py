#!/usr/bin/env python3
import os
import socket
import struct
import sys
import time

# Seconds from 1900, where NTP begins to count, to 1970.
EPOCH = 2_208_988_800


def fail(reason):
    print(f"failed: {reason}")
    sys.exit(1)


def offset(server, port, timeout):
    """Offset of our clock and round trip, in seconds, as RFC 4330 has it."""
    family, kind, protocol, _, address = socket.getaddrinfo(server, port, 0, socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as udp:
        udp.settimeout(timeout)
        udp.connect(address)
        sent = time.time()
        # Client, version 4; our time of sending comes back as the original one.
        stamp = struct.pack("!II", int(sent) + EPOCH, int(sent % 1 * 2**32))
        udp.send(b"\x23" + bytes(39) + stamp)
        answer = udp.recv(512)
        came = time.time()
    if len(answer) < 48 or answer[0] & 7 != 4 or answer[24:32] != stamp:
        fail(f"{server} does not answer as an NTP server")
    if answer[0] >> 6 == 3 or not 1 <= answer[1] <= 15:
        fail(f"{server} is not synchronised itself")
    received, answered = (
        struct.unpack("!II", answer[at : at + 8])[0] - EPOCH + struct.unpack("!II", answer[at : at + 8])[1] / 2**32
        for at in (32, 40)
    )
    return ((received - sent) + (answered - came)) / 2, (came - sent) - (answered - received)


server, most = os.environ["SERVER"], int(os.environ["MAX_MS"])
try:
    behind, trip = offset(server, int(os.environ["PORT"]), int(os.environ["TIMEOUT"]))
except OSError as error:
    fail(f"no answer from {server}: {error}")
print(f"{server}: offset {behind * 1000:.1f} ms, round trip {trip * 1000:.1f} ms")
if abs(behind) * 1000 > most:
    fail(f"the clock is more than {most} ms off")
print(f"ok: the clock is within {most} ms")
