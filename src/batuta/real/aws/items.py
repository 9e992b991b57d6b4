"""The effect `items`: what an ItemReader reads, page by page."""

from __future__ import annotations

import csv
from collections import OrderedDict
from collections.abc import Callable, Iterator
from json import JSONDecodeError, loads
from typing import IO, Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.aws.clients import in_thread
from batuta.real.aws.places import Place, Places
from batuta.real.call import Refused
from batuta.real.job import Job
from batuta.workflow.asl.errors import ITEM_READER_FAILED
from batuta.workflow.asl.resource import parse

PAGE = 1000
DOCUMENTS = 4
BOM = b"\xef\xbb\xbf"
LINE_LIMIT = 16 * 1024 * 1024
DOCUMENT_LIMIT = 256 * 1024 * 1024
DELIMITERS = {"COMMA": ",", "PIPE": "|", "SEMICOLON": ";", "SPACE": " ", "TAB": "\t"}

Page = tuple[list[Any], Any]
Reader = dict[str, Any]
Kind = Callable[[Place, Reader, Any, int], Page]


class Items:
    """Performs `items` commands: data `{reader, cursor, limit}`, value `{items, next}`.

    Lists of S3, JSON lines and CSV are read from where the cursor stands; a JSON document is
    kept while its pages are asked for, because it has to be read whole.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self._documents: OrderedDict[object, list[Any]] = OrderedDict()
        self._kinds: dict[str, Kind] = {
            "JSON": self._json,
            "JSONL": self._lines,
            "CSV": self._csv,
            "MANIFEST": self._manifest,
        }

    async def perform(self, job: Job) -> Outcome:
        """Read one page."""
        data = job.command.data
        page = await in_thread(
            lambda: self._page(data["reader"], data.get("cursor"), data.get("limit") or PAGE)
        )
        value = {"items": page[0], "next": page[1]}
        return Outcome(job.command.id, value, None, job.started)

    def _page(self, reader: Reader, cursor: Any, limit: int) -> Page:
        """A page of items and where the next one begins; None after the last. Blocks."""
        given = reader.get("Parameters") or reader.get("Arguments") or {}
        config = reader.get("ReaderConfig") or {}
        if parse(str(reader.get("Resource", ""))).text.endswith(":s3:listObjectsV2"):
            return self._listed(given, config, cursor, limit)
        kind = str(config.get("InputType", "JSON")).upper()
        read = self._kinds.get(kind)
        if read is None:
            raise _failed(f"items of type {kind} cannot be read; use {', '.join(self._kinds)}")
        return read(self._places.place(given), config, cursor, limit)

    # -- listings --------------------------------------------------------------------------

    def _listed(self, given: Reader, config: Reader, cursor: Any, limit: int) -> Page:
        if config.get("Transformation") == "LOAD_AND_FLATTEN":
            return self._flattened(given, config, cursor, limit)
        answer = self._places.list(given, cursor, limit)
        items = [_object(each) for each in answer.get("Contents", [])]
        return items, answer.get("NextContinuationToken")

    def _flattened(self, given: Reader, config: Reader, cursor: Any, limit: int) -> Page:
        """The items of all files that are listed, one file after the other."""
        at = cursor or {"after": given.get("StartAfter"), "key": None, "inner": None}
        reader = {"ReaderConfig": {**config, "Transformation": None}}
        items: list[Any] = []
        while len(items) < limit:
            key = at["key"]
            if key is None:
                listed = self._places.list({**given, "StartAfter": at["after"]}, None, 1)
                if not listed.get("Contents"):
                    return items, None
                key = listed["Contents"][0]["Key"]
            place = {"Bucket": given.get("Bucket"), "Key": key}
            more, inner = self._page({**reader, "Parameters": place}, at["inner"],
                                     limit - len(items))  # fmt: skip
            items += more
            at = {"after": key, "key": None if inner is None else key, "inner": inner}
        return items, at

    # -- documents -------------------------------------------------------------------------

    def _json(self, place: Place, config: Reader, cursor: Any, limit: int) -> Page:
        pointer = str(config.get("ItemsPointer") or "")
        name = (place, pointer, self._places.stamp(place))
        items = self._documents.get(name)
        if items is None:
            with self._places.open(place) as file:
                items = _items_of(file, pointer)
            self._documents[name] = items
            while len(self._documents) > DOCUMENTS:
                self._documents.popitem(last=False)
        begin = int(cursor or 0)
        end = begin + limit
        if end >= len(items):
            self._documents.pop(name, None)
            return items[begin:], None
        return items[begin:end], end

    def _lines(self, place: Place, config: Reader, cursor: Any, limit: int) -> Page:
        offset = int(cursor or 0)
        items: list[Any] = []
        with self._places.open(place, offset) as file:
            for line in _limited(file):
                if len(items) == limit:
                    return items, offset
                offset += len(line)
                if line.strip():
                    items.append(_parsed(line))
        return items, None

    def _csv(self, place: Place, config: Reader, cursor: Any, limit: int) -> Page:
        at = dict(cursor or {"offset": 0, "headers": config.get("CSVHeaders")})
        items: list[Any] = []
        with self._places.open(place, at["offset"]) as file:
            counted = _Counted(file, at["offset"])
            rows = csv.reader(counted, delimiter=_delimiter(config))
            if at["headers"] is None:
                at["headers"] = next(rows, [])
                at["offset"] = counted.offset
            for row in rows:
                if len(items) == limit:
                    return items, at
                at["offset"] = counted.offset
                if row:
                    items.append(_record(at["headers"], row))
        return items, None

    def _manifest(self, place: Place, config: Reader, cursor: Any, limit: int) -> Page:
        """The rows of the files that a manifest names: an inventory's, or a query's results."""
        at = dict(cursor or {"file": 0, "row": 0})
        headers, files = self._named(place, config)
        items: list[Any] = []
        while at["file"] < len(files):
            for number, row in enumerate(self._rows(files[at["file"]], config)):
                if number < at["row"]:
                    continue
                if len(items) == limit:
                    return items, at
                at["row"] = number + 1
                items.append(row if headers is None else _record(headers, row))
            at = {"file": at["file"] + 1, "row": 0}
        return items, None

    def _named(self, place: Place, config: Reader) -> tuple[list[str] | None, list[Place]]:
        if config.get("ManifestType") == "ATHENA_DATA":
            with self._places.open(place) as file:
                urls = [line.decode().strip() for line in file]
            parts = [url.removeprefix("s3://").partition("/") for url in urls if url]
            return None, [Place(bucket, key) for bucket, _, key in parts]
        with self._places.open(place) as file:
            manifest = _parsed(file.read())
        if not isinstance(manifest, dict) or manifest.get("fileFormat", "CSV") != "CSV":
            raise _failed(f"{place.key} is no manifest of an inventory in CSV")
        headers = [name.strip() for name in str(manifest.get("fileSchema", "")).split(",")]
        bucket = place.bucket
        if bucket is not None:
            bucket = str(manifest.get("destinationBucket", bucket)).rpartition(":::")[2] or bucket
        return headers, [Place(bucket, file["key"]) for file in manifest.get("files", [])]

    def _rows(self, place: Place, config: Reader) -> Iterator[Any]:
        lines = self._places.unzipped(place)
        if str(config.get("InputType", "")).upper() == "JSONL":
            yield from (_parsed(line) for line in lines if line.strip())
            return
        texts = (line.decode("utf-8-sig") for line in lines)
        rows = (row for row in csv.reader(texts, delimiter=_delimiter(config)) if row)
        if config.get("ManifestType") != "ATHENA_DATA":
            yield from rows
            return
        headers = config.get("CSVHeaders") or next(rows, [])
        yield from (_record(headers, row) for row in rows)


class _Counted:
    """The lines of a file as text, with how many bytes have been given."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        self._lines = _limited(file)
        self.offset = offset

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        begin = self.offset == 0
        self.offset += len(line)
        try:
            return line.decode("utf-8-sig" if begin else "utf-8")
        except UnicodeDecodeError as error:
            raise _failed(f"the file is not UTF-8: {error}") from None


def _limited(file: IO[bytes]) -> Iterator[bytes]:
    """Lines, none of which may be larger than an item can be."""
    while line := file.readline(LINE_LIMIT + 1):
        if len(line) > LINE_LIMIT:
            raise _failed(f"a line of the file is larger than {LINE_LIMIT:,} bytes")
        yield line


def _items_of(file: IO[bytes], pointer: str) -> list[Any]:
    """The list within a document. Raises `Refused`."""
    content = file.read(DOCUMENT_LIMIT + 1)
    if len(content) > DOCUMENT_LIMIT:
        text = f"a document of JSON may have {DOCUMENT_LIMIT:,} bytes; use JSON lines for more"
        raise _failed(text)
    value = _parsed(content)
    for step in pointer.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            raise _failed(f"the ItemsPointer {pointer} points to nothing in the document")
    if isinstance(value, dict):
        return [{"Key": key, "Value": each} for key, each in value.items()]
    if not isinstance(value, list):
        raise _failed("Attempting to map over non-iterable node.")
    return value


def _parsed(text: bytes | str) -> Any:
    try:
        return loads(text.removeprefix(BOM) if isinstance(text, bytes) else text)
    except (JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _failed(f"the file is not JSON: {error}") from None


def _record(headers: list[str], row: list[str]) -> dict[str, str]:
    """A row by its headers: cells without one are dropped, missing ones are empty."""
    return {
        name: row[at] if at < len(row) else "" for at, name in enumerate(headers)
    }  # fmt: skip


def _delimiter(config: Reader) -> str:
    name = str(config.get("CSVDelimiter", "COMMA"))
    if name not in DELIMITERS:
        raise _failed(f"CSVDelimiter must be one of {', '.join(DELIMITERS)}")
    return DELIMITERS[name]


def _object(told: dict[str, Any]) -> dict[str, Any]:
    """An object of a listing as an item."""
    return {
        "Etag": told.get("ETag"),
        "Key": told["Key"],
        "LastModified": int(told["LastModified"].timestamp()),
        "Size": told.get("Size"),
        "StorageClass": told.get("StorageClass", "STANDARD"),
    }


def _failed(text: str) -> Refused:
    return Refused(Failure(ITEM_READER_FAILED, text, retryable=False))
