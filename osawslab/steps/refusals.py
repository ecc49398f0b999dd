"""What AWS and boto3 say when they refuse, as errors of our own with what to type next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from osawslab.errors import BadSetting, LabError, LabTimeout, NoCredentials, Refused, RegionGone

AGAIN = "run the step again"


@dataclass(frozen=True)
class Known:
    """An error of our own; {step} and {call}, such as ec2:RunInstances, are filled in."""

    kind: type[LabError]
    what: str
    next: str


NOBODY = Known(
    NoCredentials,
    "{step}: there are no AWS credentials",
    "aws configure sso, or export AWS_PROFILE=…; then: aws sts get-caller-identity",
)
EXPIRED = Known(
    NoCredentials,
    "{step}: the AWS credentials have expired",
    "aws sso login, or fetch new keys as you did before; then run the step again",
)
UNKNOWN = Known(
    NoCredentials,
    "{step}: AWS does not accept these credentials in this region",
    "aws sts get-caller-identity tells whose they are; a region that is not enabled:"
    " aws account enable-region --region-name NAME, or another region in the settings",
)
FORBIDDEN = Known(
    Refused, "{step}: you may not do this in AWS", "ask for the IAM permission {call}"
)
# Codes: EC2 API, "Error codes"; STS and Systems Manager, "Common errors".
CODES = {
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException", "RequestExpired"), EXPIRED),
    **dict.fromkeys(
        (
            "AuthFailure",
            "InvalidClientTokenId",
            "OptInRequired",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
        ),
        UNKNOWN,
    ),
    **dict.fromkeys(("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), FORBIDDEN),
    **dict.fromkeys(
        ("InsufficientInstanceCapacity",),
        Known(
            Refused,
            "{step}: EC2 has no such instance to give in this zone now",
            'later again; or another type, such as instance_type = "t3.large";'
            ' or lab.tear_down(), and then another zone, such as zone = "b"',
        ),
    ),
    **dict.fromkeys(
        (
            "AddressLimitExceeded",
            "InstanceLimitExceeded",
            "InternetGatewayLimitExceeded",
            "VcpuLimitExceeded",
            "VpcLimitExceeded",
        ),
        Known(
            Refused,
            "{step}: the account may have no more of what {call} makes",
            "lab.preflight() tells the quotas; give back what nobody needs, or ask for more:"
            " aws service-quotas request-service-quota-increase; then run the step again",
        ),
    ),
    **dict.fromkeys(
        ("InvalidAMIID.NotFound", "InvalidAMIID.Unavailable"),
        Known(
            Refused,
            "{step}: the image that the instance should start from is no more",
            "run the step again; or another release, such as debian = 12",
        ),
    ),
    # It could not, rather than would not.
    "InternalError": Known(
        Refused,
        "{step}: EC2 refused {call}",
        "make room if the disk is full; then run the step again",
    ),
}
REFUSED = Known(Refused, "{step}: EC2 refused {call}", 'lab.check("{step}")')
# Classes of botocore.exceptions, most special first.
CLASSES = {
    "UnauthorizedSSOTokenError": EXPIRED,
    "SSOTokenLoadError": EXPIRED,
    "TokenRetrievalError": EXPIRED,
    "LoginTokenLoadError": EXPIRED,
    "CredentialRetrievalError": EXPIRED,
    "NoCredentialsError": NOBODY,
    "PartialCredentialsError": NOBODY,
    "NoAuthTokenError": NOBODY,
    "ProfileNotFound": NOBODY,
    "InvalidRegionError": Known(
        BadSetting, "{step}: there is no such region", 'region = "us-east-1"'
    ),
    "WaiterError": Known(LabTimeout, "{step}: {said}", 'lab.check("{step}")'),
    "EndpointConnectionError": Known(
        RegionGone,
        "{step}: EC2's API does not answer",
        AGAIN + "; on AWS, look at the name of the region in the settings, and at your network",
    ),
}


def refused(step: str, error: Any) -> LabError:
    """Turn a botocore ClientError into an error of our own."""
    said, service = error.response["Error"], getattr(error, "service", "ec2")
    known = CODES.get(str(said.get("Code")), REFUSED)
    call = error.operation_name
    words = {"step": step, "call": f"{service}:{call}" if known is FORBIDDEN else call}
    return known.kind(
        known.what.format(**words),
        seen=f"{said.get('Code')}: {said.get('Message')}",
        next=known.next.format(**words),
    )


def failed(step: str, error: Exception) -> LabError | None:
    """Turn any other error of botocore's into one of our own; None for one not named here."""
    for kind in type(error).__mro__:
        known = CLASSES.get(kind.__name__)
        if known is not None:
            seen = "" if known.kind is LabTimeout else str(error)
            words = {"step": step, "said": error}
            return known.kind(
                known.what.format(**words), seen=seen, next=known.next.format(**words)
            )
    return None
