"""Items for Map states, read page by page, and their results, written."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.real.cloud import STATES, client, cloud, places
from tests.real.support import Harness, run

from batuta.real.integrations import Integrations

GET = f"{STATES}s3:getObject"
LIST = f"{STATES}s3:listObjectsV2"
PUT = f"{STATES}s3:putObject"
CSV = b"Col1,Col2,Col3\nValue1,Value2,Value3\n,,\n\ntrue,1,'HelloWorld'\n\"two\nlines\",x\n"
ROWS = [
    {"Col1": "Value1", "Col2": "Value2", "Col3": "Value3"},
    {"Col1": "", "Col2": "", "Col3": ""},
    {"Col1": "true", "Col2": "1", "Col3": "'HelloWorld'"},
    {"Col1": "two\nlines", "Col2": "x", "Col3": ""},
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cloud() as found:
        s3 = client(found, "s3")
        s3.create_bucket(Bucket="items")
        s3.put_object(Bucket="items", Key="rows.csv", Body=CSV)
        s3.put_object(Bucket="items", Key="list/a.json", Body=b'[{"n": 1}, {"n": 2}]')
        s3.put_object(Bucket="items", Key="list/b.json", Body=b"[]")
        s3.put_object(Bucket="items", Key="list/c.json", Body=b'[{"n": 3}]')
        s3.put_object(Bucket="items", Key="data/1.csv.gz", Body=gzip.compress(b"items,a,1\n"))
        s3.put_object(Bucket="items", Key="data/2.csv.gz", Body=gzip.compress(b"items,b,2\n"))
        manifest = {
            "destinationBucket": "arn:aws:s3:::items",
            "fileFormat": "CSV",
            "fileSchema": "Bucket, Key, Size",
            "files": [{"key": "data/1.csv.gz"}, {"key": "data/2.csv.gz"}],
        }
        s3.put_object(Bucket="items", Key="manifest.json", Body=json.dumps(manifest))
        yield found


async def read(it: Harness, limit: int = 1000, **reader: Any) -> tuple[list[Any], int]:
    """All items of a reader, and in how many pages they came."""
    items: list[Any] = []
    cursor, pages = None, 0
    while True:
        data = {"reader": reader, "cursor": json.loads(json.dumps(cursor)), "limit": limit}
        page = await it.value(it.perform("items", data))
        assert len(page["items"]) <= limit
        items += page["items"]
        pages += 1
        cursor = page["next"]
        if cursor is None:
            return items, pages


async def refusal(it: Harness, **reader: Any) -> str:
    failure = await it.failure(it.perform("items", {"reader": reader, "limit": 10}))
    assert failure.type == "States.ItemReaderFailed"
    return str(failure.message)


def config(kind: str, **more: Any) -> dict[str, Any]:
    return {"InputType": kind, **more}


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_rows_of_a_file_in_s3_and_here(address: str, tmp_path: Path, limit: int) -> None:
    (tmp_path / "rows.csv").write_bytes(CSV)
    sources: list[dict[str, Any]] = [
        {"Bucket": "items", "Key": "rows.csv"},
        {"Path": "rows.csv"},
        {"Bucket": "file://.", "Key": "rows.csv"},
        {"Path": f"file://{tmp_path}/rows.csv"},
    ]

    async def story(it: Harness) -> None:
        first = config("CSV", CSVHeaderLocation="FIRST_ROW")
        for source in sources:
            found, pages = await read(
                it, limit, Resource=GET, ReaderConfig=first, Parameters=source
            )
            assert found == ROWS
            assert pages == {1: 4, 2: 2, 1000: 1}[limit]
        given = config("CSV", CSVHeaderLocation="GIVEN", CSVHeaders=["H1"])
        found, _ = await read(it, limit, Resource=GET, ReaderConfig=given, Parameters=sources[0])
        assert [row["H1"] for row in found] == ["Col1", "Value1", "", "true", "two\nlines"]

    run(story, integrations=places(address, tmp_path))


def test_other_delimiters(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("a|b\n1|2\n")

    async def story(it: Harness) -> None:
        pipe = config("CSV", CSVHeaderLocation="FIRST_ROW", CSVDelimiter="PIPE")
        found, _ = await read(it, ReaderConfig=pipe, Parameters={"Path": "rows.txt"})
        assert found == [{"a": "1", "b": "2"}]

    run(story, integrations=Integrations(tmp_path))


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_json_and_its_lines(tmp_path: Path, limit: int) -> None:
    items = [{"n": n, "text": "ä\u2028"} for n in range(5)]
    (tmp_path / "a.json").write_text(json.dumps({"data": {"x/y": items}}), encoding="utf-8")
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    (tmp_path / "a.jsonl").write_text(f"\n{lines}\n", encoding="utf-8")
    (tmp_path / "o.json").write_text('{"a": 1, "b": 2}')

    async def story(it: Harness) -> None:
        nested = config("JSON", ItemsPointer="/data/x~1y")
        found, _ = await read(it, limit, ReaderConfig=nested, Parameters={"Path": "a.json"})
        assert found == items
        found, _ = await read(
            it, limit, ReaderConfig=config("JSONL"), Parameters={"Path": "a.jsonl"}
        )
        assert found == items
        found, _ = await read(it, limit, Parameters={"Path": "o.json"})
        assert found == [{"Key": "a", "Value": 1}, {"Key": "b", "Value": 2}]

    run(story, integrations=Integrations(tmp_path))


def test_listings_and_what_is_in_them(address: str, tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        where = {"Bucket": "items", "Prefix": "list/"}
        found, pages = await read(it, 2, Resource=LIST, Parameters=where)
        assert [each["Key"] for each in found] == ["list/a.json", "list/b.json", "list/c.json"]
        assert pages == 2
        assert found[0].keys() == {"Etag", "Key", "LastModified", "Size", "StorageClass"}
        assert found[0]["Size"] == 20
        whole = config("JSON", Transformation="LOAD_AND_FLATTEN")
        for limit in (1, 2, 1000):
            found, _ = await read(it, limit, Resource=LIST, ReaderConfig=whole, Parameters=where)
            assert found == [{"n": 1}, {"n": 2}, {"n": 3}]

    run(story, integrations=places(address, tmp_path))


@pytest.mark.parametrize("limit", [1, 1000])
def test_an_inventory(address: str, tmp_path: Path, limit: int) -> None:
    async def story(it: Harness) -> None:
        where = {"Bucket": "items", "Key": "manifest.json"}
        found, _ = await read(it, limit, ReaderConfig=config("MANIFEST"), Parameters=where)
        assert found == [
            {"Bucket": "items", "Key": "a", "Size": "1"},
            {"Bucket": "items", "Key": "b", "Size": "2"},
        ]

    run(story, integrations=places(address, tmp_path))


def test_a_large_file_is_not_held_in_memory_or_read_again(tmp_path: Path) -> None:
    with (tmp_path / "big.jsonl").open("w") as file:
        for n in range(20_000):
            file.write(f'{{"n": {n}}}\n')

    async def story(it: Harness) -> None:
        lines = config("JSONL")
        found, pages = await read(it, ReaderConfig=lines, Parameters={"Path": "big.jsonl"})
        assert [each["n"] for each in found] == list(range(20_000))
        assert pages == 20

    run(story, integrations=Integrations(tmp_path))


def test_what_cannot_be_read_is_told(address: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "text.json").write_text('"text"')

    async def story(it: Harness) -> None:
        missing = await refusal(it, Parameters={"Bucket": "items", "Key": "nothing"})
        assert "Service: S3, Status Code: 404" in missing
        assert "outside of the project" in await refusal(it, Parameters={"Path": "../x"})
        assert "outside of the project" in await refusal(
            it, Parameters={"Path": "file:///etc/hosts"}
        )
        assert "cannot be read" in await refusal(it, Parameters={"Path": "nothing.json"})
        assert "is not JSON" in await refusal(it, Parameters={"Path": "bad.json"})
        told = await refusal(it, Parameters={"Path": "text.json"})
        assert told == "Attempting to map over non-iterable node."
        assert "PARQUET cannot be read" in await refusal(
            it, ReaderConfig=config("PARQUET"), Parameters={"Path": "bad.json"}
        )
        assert "`Bucket` and `Key`" in await refusal(it, Parameters={"Bucket": {"a": 1}})

    run(story, integrations=places(address, tmp_path))


# -- results -----------------------------------------------------------------------------------

ARN = "arn:aws:states:us-east-1:000000000000:mapRun:shop/Pack:7f"
RESULTS = [
    {"Name": "a", "Status": "SUCCEEDED", "Input": "1", "Output": "[1,2]"},
    {"Name": "b", "Status": "FAILED", "Input": "2", "Error": "E", "Cause": "why"},
    {"Name": "c", "Status": "SUCCEEDED", "Input": "3", "Output": '{"x":"ä"}'},
]


async def write(it: Harness, **writer: Any) -> Any:
    data = {"writer": writer, "map_run": ARN, "results": RESULTS}
    return await it.value(it.perform("results", data))


def test_results_in_s3(address: str, tmp_path: Path) -> None:
    s3 = client(address, "s3")

    async def story(it: Harness) -> None:
        where = {"Bucket": "items", "Prefix": "mapJobs"}
        told = await write(it, Resource=PUT, Parameters=where)
        assert told == {"Bucket": "items", "Key": "mapJobs/7f/manifest.json"}

    run(story, integrations=places(address, tmp_path))

    def content(key: str) -> Any:
        return json.loads(s3.get_object(Bucket="items", Key=key)["Body"].read())

    manifest = content("mapJobs/7f/manifest.json")
    assert manifest["DestinationBucket"] == "items"
    assert manifest["MapRunArn"] == ARN
    files = manifest["ResultFiles"]
    assert files["PENDING"] == []
    assert content(files["SUCCEEDED"][0]["Key"]) == [RESULTS[0], RESULTS[2]]
    assert content("mapJobs/7f/FAILED_0.json") == [RESULTS[1]]
    size = s3.head_object(Bucket="items", Key=files["SUCCEEDED"][0]["Key"])["ContentLength"]
    assert files["SUCCEEDED"][0]["Size"] == size


def test_results_in_a_folder_transformed(tmp_path: Path) -> None:
    async def story(it: Harness) -> None:
        told = await write(
            it, Resource=PUT, Parameters={"Path": "out"},
            WriterConfig={"OutputType": "JSONL", "Transformation": "FLATTEN"},
        )  # fmt: skip
        assert told == {"Bucket": "out", "Key": "7f/manifest.json"}
        compact = {"Transformation": "COMPACT"}
        told = await write(it, WriterConfig=compact)
        assert told == [[1, 2], {"Error": "E", "Cause": "why"}, {"x": "ä"}]

    run(story, integrations=Integrations(tmp_path))
    lines = (tmp_path / "out/7f/SUCCEEDED_0.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [1, 2, {"x": "ä"}]
