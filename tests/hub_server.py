"""A small HTTP server on loopback that speaks the Hub's endpoints, and fails on demand.

The real client of ``huggingface_hub`` talks to it. Not spoken: Xet, multipart uploads, pull requests.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_repository import Repository, describe, git_sha, is_large, sha256

TOKEN = "hf_SecretSecretSecretSecret"
READ_TOKEN = "hf_ReadOnlyReadOnlyReadOnly"


@dataclass
class Fault:
    """What goes wrong with the next requests that match.

    Attributes:
        method: of the request.
        path: pattern that its path contains.
        times: how many requests.
        status: answer with this status, and ``headers``.
        drop: close the connection: ``before`` serving, in the ``middle`` of the answer's or the request's
            body, or instead of the ``answer``.
        alter: change the body of the answer.
        trickle: seconds between two bytes of the answer.
        then: called before the request is served otherwise as usual.
    """

    method: str
    path: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: str | None = None
    alter: Callable[[bytes], bytes] | None = None
    trickle: float | None = None
    then: Callable[[], object] | None = None


class HubServer(ThreadingHTTPServer):
    """The server; its attributes are the state that tests prepare and look at.

    Attributes:
        repositories: (kind, name) -> repository.
        large: sha-256 -> uploaded large file.
        faults: what is to go wrong.
        log: (method, path) of all requests.
        sent: bytes of file content that were sent, by path in the repository.
        page: entries per page of a listing.
        renamed: former name of a repository -> the one that requests are redirected to.
        card_mistakes: what is wrong with the front matter of every card.
        ranges: whether a part of a file can be asked for.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.log: list[tuple[str, str]] = []
        self.sent: dict[str, int] = {}
        self.page = 50
        self.renamed: dict[str, str] = {}
        self.card_mistakes: list[str] = []
        self.ranges = True
        self.lock = threading.RLock()

    @property
    def endpoint(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> HubServer:
        """Serve in a thread of its own."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def add(self, name: str, kind: str = "dataset", **options: Any) -> Repository:
        """A new repository."""
        self.repositories[kind, name] = Repository(kind, name, **options)
        return self.repositories[kind, name]

    def dataset(self, name: str = "user/data") -> Repository:
        """A dataset repository."""
        return self.repositories["dataset", name]

    def requests(self, method: str, pattern: str) -> list[str]:
        """Paths of the requests so far that match."""
        return [path for verb, path in self.log if verb == method and re.search(pattern, path)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news."""


class _AnswerError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        self.status, self.code, self.message = status, code, message


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer waits for the client to acknowledge its headers
    server: HubServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    # -- one request ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[0] for key, values in parse_qs(url.query).items()}
        with self.server.lock:
            self.server.log.append((self.command, url.path))
            fault = self._fault(url.path)
        if fault is not None and fault.then is not None:
            fault.then()
        if fault is not None and fault.drop == "before":
            self._hang_up()
            return
        self.body = self._read_body(fault)
        if self.body is None:
            return
        self.fault = fault
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b'{"error": "made to fail"}', fault.headers)
            return
        for old, new in self.server.renamed.items():
            if f"/{old}" in url.path:
                self._answer(307, b"", {"Location": self.path.replace(f"/{old}", f"/{new}", 1)})
                return
        try:
            with self.server.lock:
                status, value, headers = self._route(unquote(url.path))
        except _AnswerError as error:
            headers = {"X-Error-Code": error.code} if error.code else {}
            text = json.dumps({"error": error.message or error.code}).encode()
            self._answer(error.status, text, {**headers, "X-Error-Message": error.message})
            return
        self._answer(status, value if isinstance(value, bytes) else json.dumps(value).encode(), headers)

    def _fault(self, path: str) -> Fault | None:
        for fault in self.server.faults:
            if fault.times > 0 and fault.method == self.command and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def _read_body(self, fault: Fault | None) -> bytes | None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        length = int(self.headers.get("Content-Length", 0))
        if fault is not None and fault.drop == "middle" and self.command in ("PUT", "POST"):
            self.rfile.read(length // 2)
            self._hang_up()
            return None
        return self.rfile.read(length)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def _answer(self, status: int, text: bytes, headers: dict[str, str]) -> None:
        if self.fault is not None and self.fault.drop == "answer":
            self._hang_up()
            return
        if self.fault is not None and self.fault.alter is not None:
            text = self.fault.alter(text)
        if self.fault is not None and self.fault.trickle is not None:
            self._trickle(text, headers, self.fault.trickle)
            return
        self.send_response(status)
        for key, value in {"Content-Length": str(len(text)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.fault is not None and self.fault.drop == "middle":
            self.wfile.write(text[: len(text) // 2])
            self.wfile.flush()
            self._hang_up()
            return
        self.wfile.write(text)

    def _trickle(self, text: bytes, headers: dict[str, str], seconds: float) -> None:
        """Send one byte after another, the headers too."""
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        head = f"HTTP/1.1 200 OK\r\n{lines}Content-Length: {len(text)}\r\n\r\n"
        for byte in head.encode() + text:
            self.connection.sendall(bytes([byte]))
            threading.Event().wait(seconds)  # tests replace time.sleep

    fault: Fault | None = None

    # -- endpoints ------------------------------------------------------------------------------------------

    def _route(self, path: str) -> tuple[int, Any, dict[str, str]]:
        if path == "/api/repos/create":
            return self._create()
        if path == "/api/whoami-v2":
            if self._token() is None:
                raise _AnswerError(401, message="Invalid username or password.")
            return 200, {"type": "user", "name": "user", "fullname": "Ada Example"}, {}
        if path == "/api/validate-yaml":
            self._need_token(write=False)
            mistakes = [{"message": mistake} for mistake in self.server.card_mistakes]
            return 400 if mistakes else 200, {"errors": mistakes, "warnings": []}, {}
        if match := re.fullmatch(r"/large/(\w+)", path):
            if sha256(self.body or b"") != match[1]:
                raise _AnswerError(400, message="content does not match its oid")
            self.server.large[match[1]] = self.body or b""
            return 200, b"", {"ETag": '"x"'}
        if match := re.fullmatch(r"/api/(dataset|model)s/([^/]+/[^/]+)(?:/(.*))?", path):
            return self._api(self._repository(match[1], match[2]), match[3] or "")
        if match := re.fullmatch(r"/(?:(dataset)s/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self._batch(self._repository(match[1] or "model", match[2]))
        if match := re.fullmatch(r"/(?:(dataset)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.*)", path):
            return self._resolve(self._repository(match[1] or "model", match[2]), match[3], match[4])
        raise _AnswerError(404, message=f"no endpoint {path}")

    def _api(self, repository: Repository, rest: str) -> tuple[int, Any, dict[str, str]]:
        verb, _, argument = rest.partition("/")
        if verb in ("", "revision"):
            commit = self._commit(repository, argument or "main")
            return 200, {"id": repository.name, "sha": commit, "private": repository.private}, {}
        if verb == "refs":
            refs = [(name, commit, name in repository.tags) for name, commit in repository.refs.items()]
            named = {
                kind: [
                    {"name": n, "ref": f"refs/{n}", "targetCommit": c} for n, c, tag in refs if tag == is_tag
                ]
                for kind, is_tag in (("branches", False), ("tags", True))
            }
            return 200, {**named, "converts": []}, {}
        if verb == "tree":
            return self._tree(repository, argument)
        if verb == "paths-info":
            tree = repository.files(self._commit(repository, argument))
            wanted = parse_qs((self.body or b"").decode())["paths"]
            return 200, [describe(path, tree[path]) for path in wanted if path in tree], {}
        if verb == "preupload":
            return self._preupload(repository, argument)
        if verb == "commit":
            return self._make_commit(repository, argument)
        if verb in ("tag", "branch"):
            self._need_token(write=True)
            payload = json.loads(self.body or b"{}")
            name = payload["tag"] if verb == "tag" else argument
            if name in repository.refs:
                raise _AnswerError(409, message=f"{verb} exists")
            start = argument if verb == "tag" else payload.get("startingPoint", "main")
            repository.refs[name] = self._commit(repository, start)
            if verb == "tag":
                repository.tags.add(name)
            return 200, {}, {}
        raise _AnswerError(404, message=f"no endpoint {rest}")

    def _create(self) -> tuple[int, Any, dict[str, str]]:
        self._need_token(write=True)
        wish = json.loads(self.body or b"{}")
        name, kind = f"{wish['organization']}/{wish['name']}", wish.get("type", "model")
        page = f"{self.server.endpoint}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.server.repositories:
            return 409, {"error": "You already created this repo", "url": page}, {}
        self.server.add(name, kind, private=wish.get("visibility") == "private" or bool(wish.get("private")))
        return 200, {"url": page, "name": name}, {}

    def _tree(self, repository: Repository, argument: str) -> tuple[int, Any, dict[str, str]]:
        revision, _, folder = argument.partition("/")
        entries = repository.listing(
            self._commit(repository, revision),
            folder,
            self.query.get("recursive", "").lower() in ("true", "1"),
        )
        if entries is None:
            raise _AnswerError(404, "EntryNotFound", f"{folder} does not exist")
        start = int(self.query.get("cursor", 0))
        end, headers = start + self.server.page, {}
        if end < len(entries):
            path = self.path.partition("?")[0]
            query = "&".join(f"{k}={v}" for k, v in {**self.query, "cursor": end}.items())
            headers = {"Link": f'<{self.server.endpoint}{path}?{query}>; rel="next"'}
        return 200, entries[start:end], headers

    def _preupload(self, repository: Repository, revision: str) -> tuple[int, Any, dict[str, str]]:
        self._need_token(write=True)
        tree = repository.files(self._commit(repository, revision))
        files = []
        for file in json.loads(self.body or b"{}")["files"]:
            path, there = file["path"], tree.get(file["path"])
            large = is_large(path, file["size"])
            oid = None if there is None else (sha256(there) if large else git_sha(there))
            mode = "lfs" if large else "regular"
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return 200, {"files": files}, {}

    def _batch(self, repository: Repository) -> tuple[int, Any, dict[str, str]]:
        self._need_token(write=True)
        objects = []
        for wish in json.loads(self.body or b"{}")["objects"]:
            entry = {"oid": wish["oid"], "size": wish["size"]}
            if wish["oid"] not in self.server.large:
                entry["actions"] = {"upload": {"href": f"{self.server.endpoint}/large/{wish['oid']}"}}
            objects.append(entry)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def _make_commit(self, repository: Repository, branch: str) -> tuple[int, Any, dict[str, str]]:
        self._need_token(write=True)
        operations = [json.loads(line) for line in (self.body or b"").splitlines()]
        head = self._commit(repository, branch)
        if operations[0]["value"].get("parentCommit", head) != head:
            raise _AnswerError(412, message="A commit has happened since. Please refresh and try again.")
        commit = repository.apply(branch, operations, self.server.large)
        kind = "datasets/" if repository.kind == "dataset" else ""
        url = f"{self.server.endpoint}/{kind}{repository.name}/commit/{commit}"
        return 200, {"commitUrl": url, "commitOid": commit}, {}

    def _resolve(self, repository: Repository, revision: str, path: str) -> tuple[int, Any, dict[str, str]]:
        commit = self._commit(repository, revision)
        content = repository.files(commit).get(path)
        if content is None:
            raise _AnswerError(404, "EntryNotFound", f"{path} does not exist")
        entry = describe(path, content)
        digest = f'"{entry.get("lfs", entry)["oid"]}"'
        headers = {"X-Repo-Commit": commit, "ETag": digest, "Accept-Ranges": "bytes"}
        if self.server.ranges and (match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._count(path, len(content) - start)
            return 206, content[start:], headers
        self._count(path, len(content))
        return 200, content, headers

    def _count(self, path: str, size: int) -> None:
        if self.command == "GET":
            self.server.sent[path] = self.server.sent.get(path, 0) + size

    # -- who may what ---------------------------------------------------------------------------------------

    def _repository(self, kind: str, name: str) -> Repository:
        repository = self.server.repositories.get((kind, name))
        token = self._token()
        if repository is None or (repository.private and token is None):
            raise _AnswerError(404 if token else 401, "RepoNotFound", "Repository not found")
        if repository.gated and token is None:
            raise _AnswerError(401, "GatedRepo", "Access to this dataset is restricted")
        return repository

    def _commit(self, repository: Repository, revision: str) -> str:
        commit = repository.resolve(revision)
        if commit is None:
            raise _AnswerError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    def _token(self) -> str | None:
        header = self.headers.get("authorization")
        if header is None:
            return None
        if header not in (f"Bearer {TOKEN}", f"Bearer {READ_TOKEN}"):
            raise _AnswerError(401, message="Invalid credentials in Authorization header")
        return header.removeprefix("Bearer ")

    def _need_token(self, write: bool) -> None:
        token = self._token()
        if token is None:
            raise _AnswerError(401, message="Invalid username or password.")
        if write and token != TOKEN:
            raise _AnswerError(403, message="You don't have the rights to write to this repository")
