"""A cloud on this machine: moto's server, and worlds that call it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

from batuta.real.integrations import Integrations

REGION = "us-east-1"
STATES = "arn:aws:states:::"
EXECUTION = f"arn:aws:states:{REGION}:000000000000:execution:shop:order-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def cloud() -> Iterator[str]:
    """A server of moto; its address."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    before = {name: os.environ.get(name) for name in CREDENTIALS}
    os.environ.update(CREDENTIALS)
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.stop()


def client(address: str, service: str) -> Any:
    """A client of boto3, as users have it."""
    return boto3.client(service, endpoint_url=address, region_name=REGION)


def task(resource: str, input: Any, **more: Any) -> dict[str, Any]:
    """The data of a task's command."""
    if not resource.startswith("arn:"):
        resource = STATES + resource
    return {"resource": resource, "input": input, "execution": EXECUTION, **more}


def places(address: str, folder: Path, **more: Any) -> Integrations:
    """Integrations that call the cloud."""
    return Integrations(folder, REGION, address, **more)
