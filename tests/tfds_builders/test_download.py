"""Downloads from a server on this machine: whole, resumed, refused, spoilt."""
import functools
import hashlib
import http.server
import threading

import numpy as np
import pytest

from tfds_builders import download as module
from tfds_builders.download import download
from tfds_builders.errors import DataError

DATA = np.random.default_rng(0).bytes(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


class Server:
  """What it does is set by the tests.

  Attributes:
    ranges: whether it knows them.
    cuts: after how many bytes each of the next answers breaks off; None: it does not.
    asked: the Range header of each request, None where there was none.
    status: of every answer, instead of what it should be.
  """

  def __init__(self):
    self.ranges, self.cuts, self.asked, self.status = True, [], [], None
    self.data = DATA

  def answer(self, request):
    asked = request.headers.get("Range")
    self.asked.append(asked)
    if self.status:
      request.send_error(self.status)
      return
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
    if start >= len(self.data):
      request.send_response(416)
      request.send_header("Content-Range", f"bytes */{len(self.data)}")
      request.send_header("Content-Length", "0")
      request.end_headers()
      return
    request.send_response(206 if asked and self.ranges else 200)
    if asked and self.ranges:
      request.send_header("Content-Range", f"bytes {start}-{len(self.data) - 1}/{len(self.data)}")
    request.send_header("Content-Length", str(len(self.data) - start))
    request.end_headers()
    cut = self.cuts.pop(0) if self.cuts else None
    request.wfile.write(self.data[start:][:cut])
    request.close_connection = True


@pytest.fixture
def server(monkeypatch):
  """A server and its address."""
  monkeypatch.setattr(module, "_PAUSES", (0, 0))
  monkeypatch.setattr(module, "_BLOCK", 1000)
  monkeypatch.setattr(module, "_WORTHWHILE", 1000)
  for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
    monkeypatch.delenv(name, raising=False)
  behaviour = Server()

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      behaviour.answer(self)

    def log_message(self, *_):
      pass

  running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  thread = threading.Thread(target=functools.partial(running.serve_forever, 0.01))
  thread.start()
  behaviour.url = f"http://127.0.0.1:{running.server_port}/file.h5"
  yield behaviour
  running.shutdown()
  thread.join()
  running.server_close()


def get(server, path, sha256=SHA256):
  download(server.url, path, sha256=sha256, size=len(DATA), progress=False)


def files(folder):
  """What is in a folder, locks aside."""
  return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_whole_file(server, tmp_path):
  get(server, tmp_path / "new" / "file.h5", SHA256.upper())
  assert (tmp_path / "new" / "file.h5").read_bytes() == DATA
  assert files(tmp_path / "new") == ["file.h5"]


def test_what_is_there_is_not_downloaded(server, tmp_path):
  (tmp_path / "file.h5").write_bytes(b"mine")
  get(server, tmp_path / "file.h5")
  assert (tmp_path / "file.h5").read_bytes() == b"mine" and not server.asked


def test_an_interrupted_one_goes_on_where_it_was(server, tmp_path):
  (tmp_path / "file.h5.part").write_bytes(DATA[:123_456])
  get(server, tmp_path / "file.h5")
  assert server.asked == ["bytes=123456-"]
  assert (tmp_path / "file.h5").read_bytes() == DATA


def test_a_connection_that_breaks_is_made_again(server, tmp_path):
  server.cuts = [100_000, 50_000, 10_000, 70_000]
  get(server, tmp_path / "file.h5")
  assert len(server.asked) == 5 and server.asked[0] is None and all(server.asked[1:])
  assert (tmp_path / "file.h5").read_bytes() == DATA


def test_a_server_without_ranges_begins_anew(server, tmp_path):
  server.ranges, server.cuts = False, [200_000]
  get(server, tmp_path / "file.h5")
  assert len(server.asked) == 2
  assert (tmp_path / "file.h5").read_bytes() == DATA


def test_a_connection_that_always_breaks_keeps_what_has_come(server, tmp_path):
  server.cuts = [100_000] + [0] * 9
  with pytest.raises(DataError, match="start again to go on from there"):
    get(server, tmp_path / "file.h5")
  kept = (tmp_path / "file.h5.part").read_bytes()
  assert len(kept) > 90_000 and DATA.startswith(kept) and not (tmp_path / "file.h5").exists()
  server.cuts = []
  get(server, tmp_path / "file.h5")
  assert (tmp_path / "file.h5").read_bytes() == DATA


def test_a_complete_part_is_only_renamed(server, tmp_path):
  (tmp_path / "file.h5.part").write_bytes(DATA)
  get(server, tmp_path / "file.h5")
  assert (tmp_path / "file.h5").read_bytes() == DATA


def test_a_part_longer_than_the_file_is_begun_anew(server, tmp_path):
  (tmp_path / "file.h5.part").write_bytes(DATA + b"more")
  get(server, tmp_path / "file.h5")
  assert (tmp_path / "file.h5").read_bytes() == DATA


@pytest.mark.parametrize("part", [b"", b"of another file"])
def test_a_wrong_hash_is_one_error_and_nothing_stays(server, tmp_path, part):
  if part:
    (tmp_path / "file.h5.part").write_bytes(part)
  else:
    server.data = DATA[:-1]
  with pytest.raises(DataError, match="is not the published file: .* expected " + SHA256):
    get(server, tmp_path / "file.h5")
  assert not files(tmp_path)


def test_a_refusal_is_one_error_at_once(server, tmp_path):
  server.status = 404
  with pytest.raises(DataError, match=r"404 Not Found.*file\.h5"):
    get(server, tmp_path / "file.h5")
  assert len(server.asked) == 1 and not files(tmp_path)


def test_a_busy_server_is_asked_again(server, tmp_path):
  server.status = 503
  with pytest.raises(DataError, match="503 Service Unavailable"):
    get(server, tmp_path / "file.h5")
  assert len(server.asked) == 3


def test_no_server_at_all(server, tmp_path):
  with pytest.raises(DataError, match="could not be downloaded"):
    download("http://127.0.0.1:9/file.h5", tmp_path / "file.h5", sha256=SHA256, progress=False)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/file.h5", "nonsense"])
def test_an_address_that_is_none(server, tmp_path, url):
  with pytest.raises(DataError, match="cannot be downloaded"):
    download(url, tmp_path / "file.h5", sha256=SHA256, progress=False)


def test_a_folder_that_cannot_be_written_to(server, tmp_path):
  (tmp_path / "taken").write_bytes(b"")
  with pytest.raises(DataError, match="could not be downloaded to"):
    get(server, tmp_path / "taken" / "file.h5")


def test_two_at_once_download_it_once(server, tmp_path):
  threads = [threading.Thread(target=get, args=(server, tmp_path / "file.h5")) for _ in range(3)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert (tmp_path / "file.h5").read_bytes() == DATA and len(server.asked) == 1
