"""What the tests run in pods: `serve`, `stubborn`, `end CODE [MESSAGE]`, `whoami`, `spawn`."""

# ruff: noqa: T201 - what it prints is its log
import http.client
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from urllib.parse import parse_qs, urlsplit

STATE = {"ready": True}


class Handler(http.server.BaseHTTPRequestHandler):
    """`/env`, `/read?path=`, `/mode?path=`, `/write?path=&text=`, `/ready`, `/set?ready=`."""

    def do_GET(self) -> None:
        """Answer one request."""
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        status, body = 200, b"ok"
        if url.path == "/env":
            body = json.dumps(dict(os.environ)).encode()
        elif url.path == "/read":
            body = Path(query["path"]).read_bytes()
        elif url.path == "/mode":
            body = f"{Path(query['path']).stat().st_mode & 0o777:o}".encode()
        elif url.path == "/write":
            Path(query["path"]).write_text(query["text"])
        elif url.path == "/set":
            STATE["ready"] = query["ready"] == "yes"
        elif url.path == "/ready" and not STATE["ready"]:
            status = 503
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve() -> None:
    """Serve on the pod's address until SIGTERM, then end with 0."""
    server = http.server.ThreadingHTTPServer((os.environ["POD_IP"], 8080), Handler)

    def stop(_number: int, _frame: FrameType | None) -> None:
        print("terminated", flush=True)
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    print("serving", flush=True)
    server.serve_forever()


def stubborn() -> None:
    """Ignore SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: print("ignored SIGTERM", flush=True))
    print("serving", flush=True)
    while True:
        signal.pause()


def whoami() -> None:
    """Print the user name that the API server sees in the mounted token."""
    config = json.loads(Path(os.environ["KUBECONFIG"]).read_text())
    token = Path(config["users"][0]["user"]["tokenFile"]).read_text()
    context = ssl.create_default_context(cafile=config["clusters"][0]["cluster"]["certificate-authority"])
    where = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
    connection = http.client.HTTPSConnection(*where, context=context)
    body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, headers)
    print(json.loads(connection.getresponse().read())["status"]["userInfo"]["username"], flush=True)
    connection.close()


def end(code: str, message: str = "") -> None:
    """End with a code, and leave a termination message."""
    print(f"ending with {code}", flush=True)
    if message:
        Path(os.environ.get("TERMINATION_LOG", "/dev/termination-log")).write_text(message)
    sys.exit(int(code))


def spawn() -> None:
    """Leave a child behind in a session of its own, print its pid, and end."""
    child = subprocess.Popen(["/bin/sleep", "300"], start_new_session=True)
    print(child.pid, flush=True)
    child.returncode = 0


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
