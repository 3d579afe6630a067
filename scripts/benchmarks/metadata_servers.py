"""A program: serves as its argument says, on a loopback port that it prints."""

import asyncio
import logging
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


class Constant(BaseHTTPRequestHandler):
    """Answers everything with one text."""

    def do_GET(self) -> None:
        """Answer."""
        body = b"t3.micro"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve_constant() -> None:
    """Serve with Python's own server, a thread for each connection."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Constant)
    print(server.server_address[1], flush=True)
    server.serve_forever()


def serve_moto() -> None:
    """Serve moto's metadata endpoint."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    print(server.get_host_and_port()[1], flush=True)
    Event().wait()


async def serve_ours() -> None:
    """Serve an instance of ours."""
    from imgforge.metadata import Instance, MetadataService

    listener = socket.create_server(("127.0.0.1", 0))
    instance = Instance("i-0123456789abcdef0", "ami-0123456789abcdef0")
    async with MetadataService(instance, clock=time.monotonic, tell=lambda _: None) as service:
        await service.listen(listener)
        print(listener.getsockname()[1], flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    match sys.argv[1]:
        case "ours":
            asyncio.run(serve_ours())
        case "moto":
            serve_moto()
        case _:
            serve_constant()
