"""Sits at `coel chat` on a pseudo terminal like a person; the program is the argument."""
import os
import pty
import select
import sys
import time


class Terminal:
    def __init__(self, program, *arguments):
        self.seen = ""                       # and not expected yet
        self.all = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["TERM"] = "dumb"
            os.execv(program, [program, *arguments])

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text, limit_s=20):
        """Reads until `text` appears; what came before and with it is used up."""
        end = time.monotonic() + limit_s
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                sys.exit(f"waited for {text!r}, saw {self.seen!r} at the end of {self.all!r}")
            try:
                came = os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                sys.exit(f"ended before {text!r}, saw {self.seen!r} at the end of {self.all!r}")
            self.seen += came
            self.all += came
        self.seen = self.seen.split(text, 1)[1]

    def wait(self):
        while True:
            try:
                if not os.read(self.fd, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def main(program):
    chat = Terminal(program, "chat")
    chat.expect("> ")
    chat.type("hello\r")
    chat.expect("hello\r\nhello\r\n[5 + 5 tokens")
    chat.expect("> ")

    chat.type("wait\r")                      # an answer that does not end by itself
    chat.expect("wait\r\nw")
    chat.type("\x03")
    chat.expect("cancelled]")
    chat.expect("> ")

    chat.type("half a line\x03")             # Ctrl-C at the prompt drops the line only
    chat.expect("\n")
    chat.expect("> ")
    chat.type("still here\r")
    chat.expect("still here\r\nstill here\r\n[")
    chat.expect("> ")

    chat.type("fail\r")                      # an error is shown and the talk goes on
    chat.expect("busy: the fake node is told to fail")
    chat.expect("> ")
    chat.type("/help\r")
    chat.expect("/reset")
    chat.expect("> ")
    chat.type("\x04")
    assert chat.wait() == 0

    again = Terminal(program, "chat")        # lines are remembered from one talk to the next
    again.expect("> ")
    again.type("\x10\x10\r")                 # up, past /help, to "fail"
    again.expect("busy:")
    again.expect("> ")
    again.type("/quit\r")
    assert again.wait() == 0
    print("terminal good")


main(sys.argv[1])
