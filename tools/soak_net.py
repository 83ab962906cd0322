"""What lies between the nodes of a soak: a forwarder for each direction of each link, whose links can be made bad.

As a program it forwards what its standard input says, one JSON document a line, and ends with it:
    {"add": "1>2", "at": [ADDRESS, PORT], "to": [ADDRESS, PORT], "from": ADDRESS}
    {"set": "1>2", "cut": false, "delay_s": 0, "bytes_s": 0, "lost": 0, "reset": 0, "flip": 0}   what is left out is 0
    {"mind": [PID, ...]}             which processes end with the one that gives these orders, should it be killed
`lost`, `reset` and `flip` are chances of each piece of data: to come late by the time after which TCP sends again, to
break its connection, to arrive with a changed byte. After `add` it says "ready 1>2".
"""
import asyncio
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys

RESEND_S = (0.2, 0.45)       # TCP's least patience, and once more doubled in part
FULL_BYTES = 1 << 20         # of a direction that wait here, then its sender has to


@dataclasses.dataclass
class Quality:
    cut: bool = False
    delay_s: float = 0
    bytes_s: float = 0       # 0: as fast as it comes
    lost: float = 0
    reset: float = 0
    flip: float = 0


class Link:
    """One direction between two nodes: the connections that one opens to the other."""

    def __init__(self, to, source, dice):
        self.to, self.source, self.dice = to, source, dice
        self.open = asyncio.Event()
        self.set(Quality())

    def set(self, quality):
        self.quality = quality
        self.good = quality == Quality()
        self.open.clear() if quality.cut else self.open.set()

    async def accept(self, near):
        far = Pipe(self)
        near.other, far.other = far, near
        await self.open.wait()        # what goes into a cut cable is not answered
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, *self.to, local_addr=(self.source, 0))
        except OSError:
            near.abort()
        else:
            near.wake()

    async def on_the_way(self, data):
        """Waits as long as this network takes; what arrives, or nothing if the connection broke."""
        q, dice = self.quality, self.dice
        if q.reset and dice.random() < q.reset:
            return None
        if q.lost and dice.random() < q.lost:
            await asyncio.sleep(dice.uniform(*RESEND_S))
        if q.bytes_s:
            await asyncio.sleep(len(data) / q.bytes_s)
        if q.flip and dice.random() < q.flip:
            data = bytearray(data)
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        await self.open.wait()
        return data


class Pipe(asyncio.Protocol):
    """One end of a connection: what comes in here leaves at the other."""

    def __init__(self, link, first=False):
        self.link, self.first = link, first
        self.transport, self.other, self.task = None, None, None
        self.waiting, self.bytes, self.ended = [], 0, False

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.first:
            self.task = asyncio.ensure_future(self.link.accept(self))

    def data_received(self, data):
        if self.link.good and self.task is None:
            return self.other.transport.write(data)
        loop = asyncio.get_running_loop()
        self.waiting.append((loop.time() + self.link.quality.delay_s, data))
        self.bytes += len(data)
        if self.bytes > FULL_BYTES:
            self.transport.pause_reading()
        if self.task is None:
            self.wake()

    def wake(self):
        self.task = asyncio.ensure_future(self.carry())

    async def carry(self):
        loop = asyncio.get_running_loop()
        while self.waiting:
            due, data = self.waiting.pop(0)
            await asyncio.sleep(max(0, due - loop.time()))
            data = await self.link.on_the_way(data)
            if data is None:
                return self.abort()
            self.bytes -= len(data)
            if self.bytes <= FULL_BYTES and not self.ended:
                self.transport.resume_reading()
            if not self.other.transport.is_closing():
                self.other.transport.write(data)
        self.task = None
        if self.ended:
            self.other.transport.close()

    def pause_writing(self):
        self.other.transport.pause_reading()

    def resume_writing(self):
        if self.other.bytes <= FULL_BYTES:
            self.other.transport.resume_reading()

    def abort(self):
        """With a reset, on both sides."""
        for side in (self, self.other):
            if side and side.transport and not side.transport.is_closing():
                side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                side.transport.abort()

    def connection_lost(self, problem):
        """The other side hears of it behind what is still on the way, and not while the link is cut."""
        self.ended = True
        if problem and self.link.open.is_set():
            if self.task:
                self.task.cancel()
            self.abort()
        elif self.task is None:
            self.task = asyncio.ensure_future(self.end())

    async def end(self):
        await self.link.open.wait()
        self.other.transport.close()


async def add(links, order):
    name = order["add"]
    link = links[name] = Link(tuple(order["to"]), order["from"], random.Random(name))
    await asyncio.get_running_loop().create_server(lambda: Pipe(link, first=True), *order["at"])
    print("ready", name, flush=True)


async def forward():
    links, minded = {}, []
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        order = json.loads(line)
        if "add" in order:
            await add(links, order)
        elif "mind" in order:
            minded = order["mind"]
        else:
            links[order.pop("set")].set(Quality(**order))
    for pid in minded:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class Forwarder:
    """The program, as the soak uses it."""

    def __init__(self):
        self.program = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def order(self, **what):
        self.program.stdin.write(json.dumps(what) + "\n")
        self.program.stdin.flush()

    def add(self, name, at, to, source):
        self.order(**{"add": name, "at": at, "to": to, "from": source})
        if self.program.stdout.readline().split() != ["ready", name]:
            raise RuntimeError(f"cannot forward {name} at {at[0]}:{at[1]}")

    def set(self, name, **quality):
        self.order(set=name, **quality)

    def mind(self, pids):
        self.order(mind=pids)

    def end(self):
        self.program.stdin.close()
        self.program.wait()


if __name__ == "__main__":
    asyncio.run(forward())
