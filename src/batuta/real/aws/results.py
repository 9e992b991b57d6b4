"""The effect `results`: what a ResultWriter writes, in files beside a manifest."""

from __future__ import annotations

from json import dumps
from typing import Any

from batuta.kernel.world import Failure, Outcome
from batuta.real.aws.clients import in_thread
from batuta.real.aws.places import FILE_SCHEME, Place, Places
from batuta.real.call import Refused
from batuta.real.job import Job
from batuta.workflow.asl.errors import RESULT_WRITER_FAILED
from batuta.workflow.asl.results import transformed

STATUSES = ("SUCCEEDED", "FAILED", "PENDING")
FAILED = ("FAILED", "TIMED_OUT", "ABORTED")
FILE_LIMIT = 512 * 1024 * 1024
Result = dict[str, Any]


class Results:
    """Performs `results` commands: data `{writer, map_run, results}`.

    Its value is `{Bucket, Key}` of the manifest; a list of the results where the writer names
    no place.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    async def perform(self, job: Job) -> Outcome:
        """Write all files and the manifest."""
        value = await in_thread(lambda: self._write(job.command.data))
        return Outcome(job.command.id, value, None, job.started)

    def _write(self, data: dict[str, Any]) -> Any:
        writer = data["writer"]
        config = writer.get("WriterConfig") or {}
        given = writer.get("Parameters") or writer.get("Arguments") or {}
        results: list[Result] = data["results"]
        if not writer.get("Resource"):
            return transformed(results, config)
        bucket = given.get("Bucket")
        if not isinstance(bucket, str) and "Path" not in given:
            text = "`Bucket` (or `Path`, of a folder of the project) must be text"
            raise Refused(Failure(RESULT_WRITER_FAILED, text, retryable=False))
        arn = str(data["map_run"])
        prefix = str(given.get("Prefix") or "").strip("/")
        folder = "/".join(filter(None, (prefix, arn.rpartition(":")[2])))
        files: dict[str, list[Result]] = {"FAILED": [], "PENDING": [], "SUCCEEDED": []}
        for status in STATUSES:
            chosen = [each for each in results if _status(each) == status]
            for number, content in enumerate(_parts(chosen, config, status)):
                ending = "jsonl" if _lines(config) else "json"
                key = f"{folder}/{status}_{number}.{ending}"
                self._put(given, key, content)
                files[status].append({"Key": key, "Size": len(content)})
        shown = bucket if isinstance(bucket, str) else str(given["Path"])
        manifest = {"DestinationBucket": shown, "MapRunArn": arn, "ResultFiles": files}
        key = f"{folder}/manifest.json"
        self._put(given, key, _json(manifest).encode())
        return {"Bucket": shown, "Key": key}

    def _put(self, given: dict[str, Any], key: str, text: bytes) -> None:
        bucket = given.get("Bucket")
        if "Path" in given:
            place = Place(None, f"{given['Path']}/{key}")
        elif str(bucket).startswith(FILE_SCHEME):
            place = Place(None, f"{str(bucket).rstrip('/')}/{key}")
        else:
            place = Place(bucket, key)
        self._places.write(place, text, RESULT_WRITER_FAILED)


def _status(result: Result) -> str:
    status = str(result.get("Status", "SUCCEEDED"))
    if status == "SUCCEEDED":
        return status
    return "FAILED" if status in FAILED else "PENDING"


def _lines(config: dict[str, Any]) -> bool:
    return config.get("OutputType") == "JSONL"


def _parts(results: list[Result], config: dict[str, Any], status: str) -> list[bytes]:
    """The results as the contents of as many files as they need; none for none."""
    told: list[Any] = results
    if status == "SUCCEEDED":
        told = transformed(results, config)
    texts = [_json(each).encode() for each in told]
    parts: list[list[bytes]] = []
    size = FILE_LIMIT
    for text in texts:
        if size + len(text) > FILE_LIMIT:
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += len(text) + 1
    if _lines(config):
        return [b"".join(text + b"\n" for text in part) for part in parts]
    return [b"[" + b",".join(part) + b"]" for part in parts]


def _json(value: Any) -> str:
    return dumps(value, separators=(",", ":"), ensure_ascii=False)
