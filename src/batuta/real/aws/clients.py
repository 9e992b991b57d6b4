"""Clients of boto3: made once, shared by threads, pointed at AWS or at any other endpoint."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from batuta.kernel.world import Failure
from batuta.real.aws.names import boto_name
from batuta.real.call import Refused
from batuta.real.integrations import Integrations

INSTALL = "pip install 'batuta[aws]'"
DEFAULT_REGION = "us-east-1"
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 70
LONG_READ_TIMEOUT_S = 910
LONG_CALLS = ("lambda", "bedrock-runtime")
"""Services that answer when their work is done: waited for longer, and called once."""
ATTEMPTS = 3
ROLE_S = 3600
RENEW_BEFORE_S = 300

T = TypeVar("T")


class Clients:
    """The clients of one project.

    Parameters
    ----------
    integrations: where the services are.
    """

    def __init__(self, integrations: Integrations) -> None:
        self._integrations = integrations
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[tuple[str, str, str | None], Any] = {}
        self._own: tuple[str, str, str] | None = None

    def use(self, integrations: Integrations) -> None:
        """The project changed."""
        with self._lock:
            self._integrations = integrations
            self._clients.clear()

    def answer_here(self, endpoint: str, key: str = "batuta", secret: str = "batuta") -> None:
        """This server is Step Functions itself, for `aws-sdk:sfn`, unless `endpoints` says else.

        Parameters
        ----------
        endpoint: its URL. key, secret: what to sign with; anything where it does not look.
        """
        with self._lock:
            self._own = endpoint, key, secret
            self._clients.clear()

    def client(self, service: str, region: str | None = None, role: str | None = None) -> Any:
        """The client of a service; for any thread.

        Parameters
        ----------
        service: by its name in boto3. region: None: the configured one.
        role: ARN of a role to assume.

        Raises `Refused` where boto3 is missing or has no such service.
        """
        with self._lock:
            session = self._open()
            region = self._integrations.region or session.region_name or region or DEFAULT_REGION
            key = (service, region, role)
            found = self._clients.get(key)
            if found is None:
                found = self._clients[key] = self._make(session, service, region, role)
            return found

    def service(self, word: str) -> str:
        """The name in boto3 of a service as resources name it (`sfn`). Raises `Refused`."""
        with self._lock:
            known = self._open().get_available_services()
        found = boto_name(word, known)
        if found is None:
            text = f"there is no service `{word}` in the installed boto3"
            raise Refused(Failure("States.Runtime", text, retryable=False))
        return found

    def sign(
        self, service: str, method: str, url: str, headers: dict[str, str], content: bytes | None
    ) -> dict[str, str]:
        """The headers of a request with its signature (version 4). Raises `Refused`."""
        with self._lock:
            session = self._open()
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        credentials = session.get_credentials()
        if credentials is None:
            text = "there are no credentials of AWS to sign with"
            raise Refused(Failure("States.Runtime", text, retryable=False))
        region = self._integrations.region or session.region_name or DEFAULT_REGION
        request = AWSRequest(method, url, headers, content or b"")
        SigV4Auth(credentials, service, region).add_auth(request)
        return dict(request.headers.items())

    def _open(self) -> Any:
        if self._session is None:
            try:
                import boto3  # heavy, and an extra
            except ImportError:
                text = f"calling AWS needs boto3, which is not installed: {INSTALL}"
                raise Refused(Failure("States.Runtime", text, retryable=False)) from None
            self._session = boto3.session.Session()
        return self._session

    def _make(self, session: Any, service: str, region: str, role: str | None) -> Any:
        import botocore.config

        config = botocore.config.Config(
            parameter_validation=False,
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=LONG_READ_TIMEOUT_S if service in LONG_CALLS else READ_TIMEOUT_S,
            retries={
                "total_max_attempts": 1 if service in LONG_CALLS else ATTEMPTS,
                "mode": "standard",
            },
            max_pool_connections=64,
            response_checksum_validation="when_required",  # else answers have what nobody asked for
        )
        options: dict[str, Any] = {"region_name": region, "config": config}
        endpoint = self._endpoint(service)
        named = service in self._integrations.endpoints
        if service == "stepfunctions" and self._own is not None and not named:
            options["endpoint_url"], key, secret = self._own
            options |= {"aws_access_key_id": key, "aws_secret_access_key": secret}
        elif endpoint is not None:
            options["endpoint_url"] = endpoint
        if service == "s3" and endpoint is not None:
            config = config.merge(botocore.config.Config(s3={"addressing_style": "path"}))
            options["config"] = config
        if service == "stepfunctions":
            options["config"] = config.merge(botocore.config.Config(inject_host_prefix=False))
        if role is not None:
            options |= self._assumed(session, region, role)
        client = session.client(service, **options)
        client.meta.events.register("after-call", _keep_headers)
        return client

    def _endpoint(self, service: str) -> str | None:
        """Where a service is; None: boto3 finds it, by `AWS_ENDPOINT_URL` or at AWS."""
        return self._integrations.endpoints.get(service) or self._integrations.endpoint

    def _assumed(self, session: Any, region: str, role: str) -> dict[str, str]:
        endpoint = self._endpoint("sts")
        options = {"endpoint_url": endpoint} if endpoint else {}
        sts = session.client("sts", region_name=region, **options)
        answer = sts.assume_role(RoleArn=role, RoleSessionName="batuta", DurationSeconds=ROLE_S)
        given = answer["Credentials"]
        return {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }


def _keep_headers(http_response: Any, parsed: dict[str, Any], **_: Any) -> None:
    """Keep the headers as they were written, which botocore puts into lower case."""
    parsed.setdefault("ResponseMetadata", {})["Headers"] = dict(http_response.headers)


async def in_thread(call: Callable[[], T]) -> T:
    """Wait for a call that blocks, in a thread of its own that no exit waits for.

    Cancelled, it returns at once; the thread ends with its call, whose result is dropped.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type] # there is one where no error is

    def perform() -> None:
        result, trouble = None, None
        try:
            result = call()
        except BaseException as error:  # belongs to whoever waits
            trouble = error
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle, result, trouble)
            except RuntimeError:
                return  # the loop was closed meanwhile: nobody waits

    threading.Thread(target=perform, daemon=True, name="batuta-aws").start()
    return await future
