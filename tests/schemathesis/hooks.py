"""Two headers that Schemathesis does not handle as they are meant."""

import re
import uuid

import schemathesis
from schemathesis.generation.meta import CoverageScenario

VERSION = "X-Client-Version"
KEY = "Idempotency-Key"
VALID_KEY = re.compile("[!-~]{1,255}")


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """In headers, the coverage phase writes letters and digits alone, and no version does without
    dots: it would call every request of the dialect a wrong one. The header is optional; what the
    server makes of it, server/src/http/client_version.rs shows."""
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            parameters = operation.get("parameters", [])
            parameters[:] = [given for given in parameters if given.get("name") != VERSION]


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that makes a request repeatable is used once. Schemathesis sends what it liked again,
    with the same key; it is then told what the first request came to, and takes a thing for there
    that it has deleted since. What repeated requests are answered, tests/idempotency.rs shows.

    A case that has been touched is taken for a new one, and so a header that it lacks on purpose
    would be added."""
    phase = case.meta.phase.data if case.meta else None
    if getattr(phase, "scenario", None) == CoverageScenario.MISSING_PARAMETER:
        return
    for name, value in (case.headers or {}).items():
        if name.lower() == KEY.lower() and isinstance(value, str) and VALID_KEY.fullmatch(value):
            case.headers[name] = str(uuid.uuid4())
            return
