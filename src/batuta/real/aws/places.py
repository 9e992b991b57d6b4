"""Where items are read from and results go: S3, or the project's own folder."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from batuta.kernel.world import Failure
from batuta.real.aws.clients import Clients
from batuta.real.aws.failures import failure_of_call
from batuta.real.call import Refused
from batuta.workflow.asl.errors import ITEM_READER_FAILED

FILE_SCHEME = "file://"


@dataclass(frozen=True, slots=True)
class Place:
    """A file of S3 or of the project.

    Parameters
    ----------
    bucket: of S3; None for a file of the project. key: in the bucket, or the file's path.
    version: of the object, or None.
    """

    bucket: str | None
    key: str
    version: str | None = None


class Places:
    """Opens places.

    Parameters
    ----------
    folder: the project's; no file outside is read or written.
    """

    def __init__(self, folder: Path, clients: Clients) -> None:
        self._folder = folder.resolve()
        self._clients = clients

    def place(self, given: dict[str, Any], error: str = ITEM_READER_FAILED) -> Place:
        """The place that parameters name: `Bucket` and `Key`, or `Path`. Raises `Refused`."""
        if "Path" in given:
            return Place(None, str(given["Path"]))
        bucket, key = given.get("Bucket"), given.get("Key")
        if not isinstance(bucket, str) or not isinstance(key, str):
            text = "`Bucket` and `Key` (or `Path`, of a file of the project) must be text"
            raise Refused(Failure(error, text, retryable=False))
        if bucket.startswith(FILE_SCHEME):
            return Place(None, f"{bucket.rstrip('/')}/{key}" if key else bucket)
        return Place(bucket, key, given.get("VersionId"))

    def file(self, text: str, error: str = ITEM_READER_FAILED) -> Path:
        """A path inside the project's folder. Raises `Refused` for one that leaves it."""
        if text.startswith(FILE_SCHEME):
            text = unquote(text.removeprefix(FILE_SCHEME))
        found = (self._folder / text).resolve()
        if not found.is_relative_to(self._folder):
            why = f"the file {text} is outside of the project's folder"
            raise Refused(Failure(error, why, retryable=False))
        return found

    def stamp(self, place: Place) -> object:
        """What tells one state of a place from another. Blocks. Raises `Refused`."""
        if place.bucket is None:
            try:
                about = self.file(place.key).stat()
            except OSError as error:
                raise Refused(_unreadable(place, error.strerror or str(error))) from error
            return about.st_mtime_ns, about.st_size
        answer = self._s3("head_object", place)
        return answer.get("ETag"), answer.get("VersionId")

    def open(self, place: Place, offset: int = 0) -> IO[bytes]:
        """A place's bytes from an offset on. Blocks. Raises `Refused`."""
        if place.bucket is None:
            try:
                file = self.file(place.key).open("rb")
                file.seek(offset)
            except OSError as error:
                raise Refused(_unreadable(place, error.strerror or str(error))) from error
            return file
        more = {"Range": f"bytes={offset}-"} if offset else {}
        body = self._s3("get_object", place, **more)["Body"]
        return BufferedReader(_Stream(body), 1 << 20)

    def unzipped(self, place: Place) -> Iterator[bytes]:
        """The lines of a place, unpacked where it is packed by gzip."""
        with self.open(place) as packed:
            if place.key.endswith(".gz"):
                with gzip.open(packed) as lines:
                    yield from lines
            else:
                yield from packed

    def write(self, place: Place, data: bytes, error: str) -> None:
        """Put a file there. Blocks. Raises `Refused`."""
        if place.bucket is None:
            path = self.file(place.key, error)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        self._s3("put_object", place, error, Body=data)

    def list(self, given: dict[str, Any], cursor: str | None, limit: int) -> dict[str, Any]:
        """A page of listObjectsV2. Blocks. Raises `Refused`."""
        more = {"ContinuationToken": cursor} if cursor else {}
        names = ("Bucket", "Prefix", "StartAfter", "Delimiter")
        asked = {name: given[name] for name in names if given.get(name) is not None}
        client = self._clients.client("s3")
        return self._called(client, "list_objects_v2", ITEM_READER_FAILED,
                            {**asked, **more, "MaxKeys": min(limit, 1000)})  # fmt: skip

    def _s3(
        self, method: str, place: Place, error: str = ITEM_READER_FAILED, **more: Any
    ) -> dict[str, Any]:
        given = {"Bucket": place.bucket, "Key": place.key, **more}
        if place.version is not None:
            given["VersionId"] = place.version
        return self._called(self._clients.client("s3"), method, error, given)

    @staticmethod
    def _called(client: Any, method: str, error: str, given: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(client, method)(**given)
        except Exception as problem:  # boto3 has an open set of exceptions
            failure = failure_of_call(problem, client.meta.service_model, "aws-sdk:s3")
            if failure is None:
                raise
            raise Refused(Failure(error, failure.message)) from problem
        return answer


class _Stream(RawIOBase):
    """A body of boto3 as what `BufferedReader` reads from."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        super().close()
        self._body.close()


def _unreadable(place: Place, why: str) -> Failure:
    return Failure(ITEM_READER_FAILED, f"the file {place.key} cannot be read: {why}")
