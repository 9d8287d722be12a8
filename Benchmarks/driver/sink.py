"""An upstream that takes bodies: reads what it is sent, at most RATE bytes a second on each connection (0: all), and answers at the end.

Usage: sink.py PORT RATE
"""

import re
import socket
import sys
import threading
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def serve(connection, rate):
    space = bytearray(65_536)
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            piece = connection.recv(65_536)
            if not piece:
                return
            buffer += piece
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head.lower())
        # One in chunks is endless, or ends as this does.
        left = int(length.group(1)) if length else None
        tail = buffer
        if left is not None:
            left -= len(buffer)
        while left != 0 if left is not None else not tail.endswith(b"\r\n0\r\n\r\n"):
            count = connection.recv_into(space, min(left or len(space), len(space)))
            if not count:
                return
            if left is not None:
                left -= count
            else:
                tail = tail[-7:] + bytes(space[:count])[-7:]
            if rate:
                time.sleep(count / rate)
        buffer = b""
        connection.sendall(ANSWER)


def guarded(connection, rate):
    with connection:
        try:
            serve(connection, rate)
        except OSError:
            pass


def main():
    port, rate = int(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
        while True:
            connection, _ = listener.accept()
            if rate:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            threading.Thread(target=guarded, args=(connection, rate), daemon=True).start()


main()
