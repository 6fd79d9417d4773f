#!/usr/bin/python3
"""Says on each port of a switch which switch and port it is, as real ones do (LLDP, IEEE 802.1AB).

usage: lldp.py SWITCH DEVICE=PORT...        for example: lldp.py r1-sw-a srv1-eth0=3 gw1-eth0=1

Sends a frame a port every two seconds until it is ended. A device that is not there at the moment is passed over.
"""

import hashlib
import socket
import struct
import sys
import time

INTERVAL_S = 2
ETHERTYPE = 0x88CC
NEAREST_BRIDGE = bytes.fromhex('0180c200000e')


def tlv(kind, value):
    return struct.pack('>H', kind << 9 | len(value)) + value


def frame(switch, port):
    """An announcement; the switch's own address is made of its name, locally administered."""
    address = b'\x02' + hashlib.sha256(switch.encode()).digest()[:5]
    return (
        NEAREST_BRIDGE + address + struct.pack('>H', ETHERTYPE)
        + tlv(1, b'\x04' + address)
        + tlv(2, b'\x07' + str(port).encode())
        + tlv(3, struct.pack('>H', 4 * INTERVAL_S))
        + tlv(5, switch.encode())
        + tlv(0, b'')
    )


def main():
    if len(sys.argv) < 3 or any('=' not in word for word in sys.argv[2:]):
        sys.exit(__doc__)
    switch = sys.argv[1]
    ports = [word.rsplit('=', 1) for word in sys.argv[2:]]
    while True:
        for device, port in ports:
            try:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                    out.bind((device, 0))
                    out.send(frame(switch, port))
            except OSError:
                continue
        time.sleep(INTERVAL_S)


if __name__ == '__main__':
    main()
