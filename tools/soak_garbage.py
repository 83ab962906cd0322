"""What a stranger may send to a node's ports: soak_garbage.py LINK_ADDRESS LINK_PORT HELLO_ADDRESS HELLO_PORT SEED SECONDS

No HELLO address: none is sent to. Ends with 0 whatever the node makes of it; whether it lives on is seen elsewhere.
"""
import random
import socket
import struct
import sys
import time

ZMTP = b"\xff\0\0\0\0\0\0\0\x01\x7f\x03\x00CURVE" + b"\0" * 15 + b"\0" + b"\0" * 31
NULL = ZMTP.replace(b"CURVE", b"NULL\0")
FULLEST = 64       # connections that are held open at once


def speeches(dice):
    """One of each thing that comes to a TCP port."""
    noise = dice.randbytes(dice.choice([1, 10, 64, 1000, 20000]))
    hello = b"\x05HELLO" + b"\x01\x00" + dice.randbytes(192)
    return dice.choice([
        noise, b"", b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
        ZMTP[:dice.randrange(len(ZMTP))], ZMTP, ZMTP + noise, NULL + b"\x04\x19\x05READY" + noise,
        ZMTP + b"\x04" + bytes([len(hello)]) + hello, ZMTP + b"\x06" + b"\xff" * 8 + noise])


def packets(dice):
    """One of each thing that comes to a UDP port: noise, and OLSR packets that are nearly right."""
    body = dice.choice([b"", dice.randbytes(dice.randrange(0, 60))])
    address = bytes([127, dice.randrange(256), dice.randrange(256), dice.randrange(1, 255)])
    said = struct.pack(">HBB", 0, 0x86, dice.randrange(8)) + body
    message = struct.pack(">BBH", 1, 0x86, 12 + len(said)) + address + struct.pack(">BBH", 1, 0, dice.randrange(65536)) + said
    whole = struct.pack(">HH", 4 + len(message), dice.randrange(65536)) + message
    broken = bytearray(whole)
    broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
    return dice.choice([dice.randbytes(dice.randrange(1, 1472)), whole, bytes(broken), whole[:dice.randrange(len(whole))],
                        whole + message * 3])


def connect(address, dice, held):
    if len(held) >= FULLEST:
        held.pop(dice.randrange(len(held))).close()
    try:
        s = socket.create_connection(address, timeout=0.5)
        s.sendall(speeches(dice))
        held.append(s)
        if dice.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            held.pop().close()
    except OSError:
        pass


def main():
    link_address, link_port, hello_address, hello_port, seed, seconds = sys.argv[1:]
    dice, held = random.Random(int(seed)), []
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        connect((link_address, int(link_port)), dice, held)
        for _ in range(10 if hello_address else 0):
            try:
                udp.sendto(packets(dice), (hello_address, int(hello_port)))
            except OSError:
                pass
        time.sleep(0.005)


if __name__ == "__main__":
    main()
