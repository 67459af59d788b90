"""Download the files of a data set once, check their hashes, keep them in the user's cache."""

from __future__ import annotations

import os
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import IO, Any, NamedTuple

from tqdm import tqdm

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


class Source(NamedTuple):
    """Where a data set can be had (in this order), and the SHA-256 of each of `FILES`."""

    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]


# The hashes are those that TensorFlow Datasets records for the original files.
SOURCES = {
    "mnist": Source(
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": Source(
        mirrors=(
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}
CACHE_VARIABLE = "FASTGRAD_DATA_DIR"
# Seconds to connect, and between two packets: never for the whole of a slow download.
TIMEOUT = (10.0, 30.0)
# The largest of the eight files has 26 MB: an answer without end must not fill the disk, nor one
# that drips, its headers or itself, keep its caller for ever.
MAX_BYTES = 64 * 2**20
MAX_SECONDS = 3600.0
# Seconds to wait before all mirrors are asked, and asked again when all have failed.
WAITS = (0.0, 1.0, 4.0)


def fetch(dataset: str) -> list[Path]:
    """Return where each of `FILES` of a data set lies; download what the cache does not hold."""
    source, folder = SOURCES[dataset], cache_dir() / dataset
    pairs = zip(FILES, source.sha256, strict=True)
    return [_fetch_file(name, sha256, source.mirrors, folder) for name, sha256 in pairs]


def cache_dir() -> Path:
    """Return the folder of all data sets: ``$FASTGRAD_DATA_DIR``, or one in the user's cache."""
    import pooch  # Not at the top: whoever trains on the embedded digits does not wait for it.

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("fastgrad")).expanduser()


def _fetch_file(name: str, sha256: str, mirrors: tuple[str, ...], folder: Path) -> Path:
    import pooch
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    for wait in WAITS:
        time.sleep(wait)
        failures = ""
        for mirror in mirrors:
            try:
                # It writes beside the target, and moves the file only when the hash is right.
                found = pooch.retrieve(mirror + name, sha256, name, folder, downloader=_download)
                return Path(found)
            except (RequestException, HTTPError, ValueError) as error:
                failures += f"\n  {mirror}{name}: {error}"
            except OSError as error:
                raise OSError(
                    f"cannot keep {name} in the cache folder {folder}: {error}; set "
                    f"{CACHE_VARIABLE} to a folder that you may write, or pass data_dir= with the "
                    "four files"
                ) from error
    raise OSError(
        f"cannot download {name} to {folder}, every mirror failed, asked {len(WAITS)} time(s):"
        f"{failures}\nTry again later, or pass data_dir= with a folder that holds the four files"
    )


def _download(url: str, output_file: str, pooch: Any) -> None:
    """Write to a file what the server sends, byte for byte, within `MAX_BYTES` and `MAX_SECONDS`.

    Pooch's own downloader unpacks what calls itself packed, in memory and without a bound, and has
    no limit of time. Nothing ends an answer, nor its headers, that come a byte now and then. So
    another thread waits for them: too late, it finds the file closed.
    """
    done: futures.Future[None] = futures.Future()
    with open(output_file, "wb") as file:
        threading.Thread(target=_receive, args=(url, file, done), daemon=True).start()
        try:
            done.result(MAX_SECONDS)
        except futures.TimeoutError:
            raise ValueError(f"the answer took longer than {MAX_SECONDS:g} seconds") from None


def _receive(url: str, file: IO[bytes], done: futures.Future[None]) -> None:
    import requests

    try:
        headers = {"Accept-Encoding": "identity"}
        with requests.get(url, stream=True, timeout=TIMEOUT, headers=headers) as response:
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", "0"))
            hidden = None if sys.stderr else True  # None: shown at a terminal
            with tqdm(total=size, unit="B", unit_scale=True, disable=hidden) as bar:
                while chunk := response.raw.read(2**16, decode_content=False):
                    bar.update(file.write(chunk))
                    if file.tell() > MAX_BYTES:
                        raise ValueError(f"the answer is longer than {MAX_BYTES:,} bytes")
        done.set_result(None)
    except BaseException as error:
        done.set_exception(error)
