"""Read what arrives at the API and write what leaves it: query forms, errors, signatures."""

from __future__ import annotations

import hmac
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

JSON = "application/x-amz-json-1.1"
JSON_SERVICES = ("ssm", "servicequotas")  # the others answer in XML
Form = dict[str, str]  # EC2's flat query parameters: "NetworkInterface.1.SubnetId" -> "subnet-…"


class Ec2Error(Exception):
    """A refusal in EC2's words: `code`, the message, and the HTTP status."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def form(body: bytes) -> Form:
    """Read a form body; bytes that are no UTF-8 become U+FFFD."""
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def body(parameters: Mapping[str, str]) -> str:
    """Write parameters as a form body; `form` reads it back."""
    return urlencode(parameters)


def listed(parameters: Mapping[str, str], name: str) -> list[str]:
    """Read a list of texts in order.

    >>> listed({"InstanceId.1": "i-1", "InstanceId.2": "i-2"}, "InstanceId")
    ['i-1', 'i-2']
    """
    found = [
        (int(key[len(name) + 1 :]), value)
        for key, value in parameters.items()
        if re.fullmatch(rf"{re.escape(name)}\.\d+", key)
    ]
    return [value for _, value in sorted(found)]


def members(parameters: Mapping[str, str], name: str) -> dict[str, Form]:
    """Read a list of structures: each one's prefix ("NetworkInterface.1.") -> its fields.

    >>> members({"Filter.1.Name": "vpc-id", "Filter.1.Value.1": "vpc-1"}, "Filter")
    {'Filter.1.': {'Name': 'vpc-id', 'Value.1': 'vpc-1'}}
    """
    found: dict[int, Form] = {}
    for key, value in parameters.items():
        match = re.fullmatch(rf"{re.escape(name)}\.(\d+)\.(.+)", key)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = value
    return {f"{name}.{number}.": found[number] for number in sorted(found)}


def truth(text: str | None) -> bool:
    """Read a boolean parameter; a missing one is false."""
    return (text or "").lower() == "true"


def refusal(service: str, error: Ec2Error) -> tuple[int, str, bytes]:
    """Write an error as the service's protocol wants it: status, content type, body."""
    request = str(uuid.uuid4())
    code, message = escape(error.code), escape(error.message)
    if service in JSON_SERVICES:
        told = {"__type": error.code, "message": error.message}
        return error.status, JSON, json.dumps(told).encode()
    if service == "sts":
        kind = "Sender" if error.status < 500 else "Receiver"
        text = (
            '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>'
            f"<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            f"<RequestId>{request}</RequestId></ErrorResponse>"
        )
    else:
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error>'
            f"<Code>{code}</Code><Message>{message}</Message></Error></Errors>"
            f"<RequestID>{request}</RequestID></Response>"
        )
    return error.status, "text/xml;charset=UTF-8", text.encode()


def told(answer: bytes) -> tuple[str, str]:
    """Read code and message out of an EC2 error."""
    found = ElementTree.fromstring(answer)
    return found.findtext(".//{*}Code") or "InternalError", found.findtext(".//{*}Message") or ""


def instances(answer: bytes) -> list[str]:
    """Read the instance ids out of an answer."""
    return [
        found.text or ""
        for found in ElementTree.fromstring(answer).iter()
        if found.tag.endswith("}instanceId")
    ]


AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)"
    r"/aws4_request,\s*SignedHeaders=(?P<headers>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
# What each service answers to keys it does not know: EC2 API "Error codes", the others'
# "Common errors".
STRANGER = {
    "ec2": ("AuthFailure", "AWS was not able to validate the provided access credentials", 401),
    "sts": ("InvalidClientTokenId", "The security token included in the request is invalid.", 403),
    **dict.fromkeys(
        JSON_SERVICES,
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            400,
        ),
    ),
}


def service_of(environ: Mapping[str, Any]) -> str:
    """Name the service a request is signed for; an unsigned one is EC2's."""
    match = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", "").strip())
    return match["service"] if match else "ec2"


def authenticate(
    environ: Mapping[str, Any], content: bytes, access_key: str, secret_key: str, region: str
) -> None:
    """Refuse a request that is not signed (SigV4) with these keys for this region."""
    stranger = Ec2Error(*STRANGER.get(service_of(environ), STRANGER["ec2"]))
    match = AUTHORIZATION.fullmatch(environ.get("HTTP_AUTHORIZATION", "").strip())
    if match is None or match["key"] != access_key:
        raise stranger
    headers = {}
    for name in match["headers"].split(";"):
        key = name.upper().replace("-", "_")
        value = environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}")
        if value is None:
            raise stranger
        headers[name] = value
    if "HTTP_X_AMZ_DATE" not in environ:
        raise stranger
    query = environ.get("QUERY_STRING", "")
    url = f"http://{environ.get('HTTP_HOST', '')}{environ.get('PATH_INFO') or '/'}"
    request = AWSRequest(
        environ["REQUEST_METHOD"], f"{url}?{query}" if query else url, headers, content
    )
    request.context["timestamp"] = environ["HTTP_X_AMZ_DATE"]
    signer = SigV4Auth(Credentials(access_key, secret_key), match["service"], match["region"])
    wanted = signer.signature(
        signer.string_to_sign(request, signer.canonical_request(request)), request
    )
    if not hmac.compare_digest(wanted, match["signature"]):
        raise stranger
    if match["region"] != region:
        raise Ec2Error(
            stranger.code if match["service"] == "ec2" else "SignatureDoesNotMatch",
            f"Credential should be scoped to a valid region, not '{match['region']}'.",
            stranger.status,
        )
