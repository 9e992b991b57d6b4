"""The errors of the service: a code that programs compare, and the text that people read."""

from __future__ import annotations

from batuta.workflow.asl.registry import ServiceError


def validation(message: str) -> ServiceError:
    """The request breaks a rule beside its shape."""
    return ServiceError("ValidationException", message)


def invalid_arn(arn: str) -> ServiceError:
    """This is no ARN of the kind that the action is about."""
    return ServiceError("InvalidArn", f"Invalid Arn: '{arn}'")


def wrong_resource(kind: str) -> ServiceError:
    """An ARN of a kind that the action knows and does not serve."""
    text = f"Invalid Arn: 'Resource type not valid in this context: {kind}'"
    return ServiceError("InvalidArn", text)


def no_machine(arn: str) -> ServiceError:
    """There is no such state machine, version or alias to start or describe."""
    return ServiceError("StateMachineDoesNotExist", f"State Machine Does Not Exist: '{arn}'")


def no_execution(arn: str) -> ServiceError:
    """There is no such execution, or it is no more."""
    return ServiceError("ExecutionDoesNotExist", f"Execution Does Not Exist: '{arn}'")


def no_activity(arn: str) -> ServiceError:
    """There is no such activity."""
    return ServiceError("ActivityDoesNotExist", f"Activity Does Not Exist: '{arn}'")


def no_resource(arn: str) -> ServiceError:
    """There is no such resource to tag or to describe."""
    return ServiceError("ResourceNotFound", f"Resource not found: '{arn}'")


def unsupported_type() -> ServiceError:
    """The action is for the other type of state machine."""
    return ServiceError(
        "StateMachineTypeNotSupported",
        "This operation is not supported by this type of state machine",
    )


def invalid_token() -> ServiceError:
    """A page token, or a task token, that was not given out here."""
    return ServiceError("InvalidToken", "Invalid Token: 'Invalid token'")
