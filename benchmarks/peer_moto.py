"""The peer: executions in moto's server, in a process and an environment of their own."""

from __future__ import annotations

import json
import statistics
import sys
import time
from urllib.request import Request, urlopen

import boto3
from moto.server import ThreadedMotoServer

EXECUTIONS = 100


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    config = json.dumps({"stepfunctions": {"execute_state_machine": True}}).encode()
    urlopen(Request(f"{url}/moto-api/config", config, {"Content-Type": "application/json"}))
    client = boto3.client(
        "stepfunctions", endpoint_url=url, region_name="us-east-1", aws_access_key_id="x",
        aws_secret_access_key="x",
    )  # fmt: skip
    definition = sys.argv[1]
    states = len(json.loads(definition)["States"])
    arn = client.create_state_machine(
        name="plain", definition=definition, roleArn="arn:aws:iam::123456789012:role/r"
    )["stateMachineArn"]
    spans = []
    for at in range(20):
        began = time.perf_counter()
        execution = client.start_execution(stateMachineArn=arn, name=f"l{at}", input="{}")[
            "executionArn"
        ]
        while client.describe_execution(executionArn=execution)["status"] == "RUNNING":
            pass
        spans.append((time.perf_counter() - began) * 1e3)
    began = time.perf_counter()
    waiting = [
        client.start_execution(stateMachineArn=arn, name=f"e{at}", input="{}")["executionArn"]
        for at in range(EXECUTIONS)
    ]
    while waiting:
        waiting = [
            each for each in waiting
            if client.describe_execution(executionArn=each)["status"] == "RUNNING"
        ]  # fmt: skip
    rate = EXECUTIONS * states / (time.perf_counter() - began)
    print(json.dumps({"transitions": rate, "p50_ms": statistics.median(spans)}))
    server.stop()


if __name__ == "__main__":
    main()
