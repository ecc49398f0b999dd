"""The instance proves the SSH host key that it has made, and a tag keeps it."""

from __future__ import annotations

from osawslab.aws import once, userdata
from osawslab.aws.facts import HOST_KEY
from osawslab.errors import StepFailed
from osawslab.host.proof import proved
from osawslab.steps import extend
from osawslab.steps.site import USER, WAIT_SECONDS, Site

# Nobody else knows the secret of the user data, so nobody else can prove a key of his own.
PROVE = "; ".join(
    (
        "IP=$(aws ec2 describe-addresses --allocation-ids $MANAGEMENT_EIP"
        " --query 'Addresses[0].PublicIp' --output text)",
        "KEY=$(ssh-keyscan -t ed25519 $IP | cut -d' ' -f2-)",
        "BANNER=$(ssh -o PreferredAuthentications=none -o StrictHostKeyChecking=no"
        f" -o UserKnownHostsFile=/dev/null {USER}@$IP 2>&1)",
        r"""PROOF=$({ sed -n 's/^SECRET = "\(.*\)"/\1/p' prove-host-key.py; echo "$KEY"; } |"""
        " python3 -c 'import hmac;"
        """ print(hmac.new(input().encode(), input().encode(), "sha256").hexdigest())')""",
        'echo "$BANNER" | grep -q "$PROOF" && aws ec2 create-tags --resources $INSTANCE'
        f' --tags "Key={HOST_KEY},Value=$KEY"',
    )
)


def prove(site: Site) -> None:
    """Have the instance prove its host key, and keep that as a tag. Raises CannotReach.

    It has another one where its user data has run anew, which knows the first end only.
    """
    seen = once.until_seen(
        lambda: [f for f in (site.read_ec2(),) if f.instance and f.eip("management")]
    )
    if not seen:
        raise StepFailed(
            "EC2 does not show the instance with its address yet", next="lab.provision()"
        )
    facts = seen[0]
    assert facts.instance is not None
    instance = str(facts.instance["InstanceId"])
    secret = userdata.secret(site.ec2, instance)
    key = proved(site.target, facts.eip("management"), USER, secret, WAIT_SECONDS)
    site.ec2.create_tags(Resources=[instance], Tags=[{"Key": HOST_KEY, "Value": key}])
    site.forget()
    if site.target.charges:
        extend.restore(site)
