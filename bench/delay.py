"""`python delay.py PORT TO SECONDS`: a network that takes a while, one way, for each piece that it carries."""

import socket
import sys
import threading
import time


def carry(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    """Carry what comes, late."""
    while piece := source.recv(65_536):
        time.sleep(seconds)
        sink.sendall(piece)
    sink.shutdown(socket.SHUT_WR)


def main(port: int, to: int, seconds: float) -> None:
    """Carry connections until ended."""
    with socket.create_server(("127.0.0.1", port)) as server:
        while True:
            near, _ = server.accept()
            far = socket.create_connection(("127.0.0.1", to))
            for ends in ((near, far), (far, near)):
                for end in ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=carry, args=(*ends, seconds), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
