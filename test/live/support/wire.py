"""The kernel's end of a TAP, as a raw packet socket (AF_PACKET): what an ordinary program on a network card sees.

Standard input: frames to send, each after its length in four bytes, big-endian. Standard output: the frames that came, the
same way; the first is empty and says that all is ready.
"""

import os
import select
import socket
import struct
import sys

PACKET_OUTGOING = 4
ETH_P_ALL = 3

wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
wire.bind((sys.argv[1], 0))
wire.setblocking(False)


def say(frame):
    data = struct.pack(">I", len(frame)) + frame
    while data:
        data = data[os.write(1, data):]


say(b"")
waiting = b""
while True:
    ready, _, _ = select.select([0, wire], [], [])
    if wire in ready:
        try:
            frame, (_, _, kind, _, _) = wire.recvfrom(1 << 17)
            if kind != PACKET_OUTGOING:
                say(frame)
        except BlockingIOError:
            pass
        except OSError:
            break  # the device was closed
    if 0 in ready:
        data = os.read(0, 1 << 16)
        if not data:
            break
        waiting += data
        while len(waiting) >= 4 and len(waiting) >= 4 + struct.unpack(">I", waiting[:4])[0]:
            size = struct.unpack(">I", waiting[:4])[0]
            try:
                wire.send(waiting[4:4 + size])
            except OSError:
                sys.exit()
            waiting = waiting[4 + size:]
