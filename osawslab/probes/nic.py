"""Claims about the NIC and the instance: drivers, names, what Debian's image does."""

from __future__ import annotations

import json

from osawslab.aws import facts
from osawslab.aws.inquiry import Refusal
from osawslab.probes.claim import Answer, Claim, CouldNotTry
from osawslab.probes.frames import FOREIGN
from osawslab.probes.ground import Ground, links

MACS = "https://github.com/amzn/amzn-drivers/issues/141"


def _other_mac(ground: Ground, driver: str, words: str, accepts: bool) -> Answer:
    """Ask the kernel for another MAC of the second NIC, and put the own one back."""
    if ground.driver != driver:
        raise CouldNotTry(f"the NIC of {ground.type} has the driver {ground.driver}, not {driver}")
    change = f"ip link set dev {ground.name} address"
    done = ground.shell(f"{change} {FOREIGN}")
    told = ground.shell(f"ip -j link show dev {ground.name}").text
    now = str(json.loads(told)[0]["address"])
    if now != ground.provider.mac:
        ground.shell(f"{change} {ground.provider.mac}")
    seen = f"{done.text or 'accepted'}; then its MAC is {now}"
    held = (done.status == 0 and now == FOREIGN) if accepts else words in done.text
    return Answer(held, seen)


def refuses(ground: Ground) -> Answer:
    """Change the MAC of an ENA."""
    return _other_mac(ground, "ena", "Operation not supported", accepts=False)


def takes(ground: Ground) -> Answer:
    """Change the MAC of a Xen NIC."""
    return _other_mac(ground, "vif", "", accepts=True)


def forbidden(ground: Ground) -> Answer:
    """Change the MAC of an SR-IOV function."""
    return _other_mac(ground, "ixgbevf", "Operation not permitted", accepts=False)


def named(ground: Ground) -> Answer:
    """Look for the second NIC by its MAC."""
    wanted = "eth1" if ground.driver == "vif" else "ens6"
    return Answer(ground.name == wanted, f"{ground.name or 'none'} on {ground.type}")


def _debian(ground: Ground) -> None:
    first = ground.shell("cat /proc/1/comm").text
    if first != "systemd":
        raise CouldNotTry(f"the instance is no system that an AMI has started: {first} runs it")


def configured(ground: Ground) -> Answer:
    """Look at what the second NIC got before anything of ours touched it."""
    _debian(ground)
    ground.shell("cloud-init status --long; journalctl -b -u 'cloud-init*' --no-pager | tail -n 40")
    told = ground.shell("ip -j addr show").text
    found = [
        f"{each['local']}/{each['prefixlen']}"
        for link in links(told, ground.provider.mac)
        for each in link["addr_info"]
        if each["family"] == "inet"
    ]
    mine = any(each.startswith(ground.provider.address + "/") for each in found)
    return Answer(mine, f"{', '.join(found) or 'no address'} on {ground.name}")


FILES = (
    "for f in /etc/netplan/* /etc/systemd/network/* /run/systemd/network/*"
    " /etc/network/interfaces /etc/network/interfaces.d/*; do"
    ' [ -f "$f" ] && echo "== $f" && cat "$f"; done; true'
)


def shipped(ground: Ground) -> Answer:
    """Read the files that configure the network."""
    _debian(ground)
    told = ground.shell(FILES).text
    names = [line[3:] for line in told.splitlines() if line.startswith("== ")]
    ground.shell("networkctl --no-pager list; cloud-init --version")
    netplan = any(name.startswith("/etc/netplan/") for name in names)
    return Answer(netplan, ", ".join(names) or "none of the files that were looked for")


def nested(ground: Ground) -> Answer:
    """Open /dev/kvm, where the type has nested virtualization and the launch asked for it."""
    if not facts.nests(ground.ec2, ground.type):
        raise CouldNotTry(f"{ground.type} has none; m8i.large has: --instance-type m8i.large")
    _debian(ground)
    done = ground.shell("modprobe kvm-intel; test -c /dev/kvm && ls -l /dev/kvm")
    return Answer(not done.status, "there is /dev/kvm" if not done.status else "no /dev/kvm")


def refused(ground: Ground) -> Answer:
    """Ask for two NICs and a public address in one launch; what it may start is ended."""
    have = ground.facts
    assert have.instance is not None
    assert have.group is not None
    lab = ground.site.settings.name
    tagged = [
        facts.specification(kind, lab, f"second-{kind}", facts.tag(have.vpc or {}, facts.MADE))
        for kind in ("instance", "network-interface", "volume")
    ]
    nics = [
        {
            "DeviceIndex": index,
            "SubnetId": have.subnets[name]["SubnetId"],
            "Groups": [have.group["GroupId"]],
            "DeleteOnTermination": True,
            **({} if index else {"AssociatePublicIpAddress": True}),
        }
        for index, name in enumerate(("management", "provider"))
    ]
    told = ground.ask(
        "run_instances",
        ImageId=have.instance["ImageId"],
        InstanceType=ground.type,
        MinCount=1,
        MaxCount=1,
        NetworkInterfaces=nics,
        TagSpecifications=tagged,
    )
    if isinstance(told, Refusal) and not told.code.startswith("InvalidParam"):
        raise CouldNotTry(str(told))  # a quota, no capacity: EC2 has not come as far as that
    if isinstance(told, Refusal):
        return Answer(told.code == "InvalidParameterCombination", str(told))
    [made] = told["Instances"]
    ground.ask("terminate_instances", InstanceIds=[made["InstanceId"]])
    return Answer(False, f"{made['InstanceId']} was launched; it was ended")


CLAIMS = (
    Claim(
        "second-nic-name", "The second NIC is ens6 on Nitro types and eth1 on Xen ones",
        "ens6 with the driver ena, eth1 with vif",
        "https://github.com/amazonlinux/amazon-ec2-net-utils", named,
    ),
    Claim(
        "second-nic-configured", "Debian gives a NIC that is plugged in later its address",
        "its private address, by cloud-init's hotplug",
        "https://github.com/canonical/cloud-init/issues/4799", configured,
    ),
    Claim(
        "debian-files", "Debian's AMI configures its network by netplan",
        "files in /etc/netplan (inferred from its other images)",
        "https://wiki.debian.org/Cloud/AmazonEC2Image", shipped,
    ),
    Claim(
        "ena-refuses-mac", "ENA refuses a MAC change",
        "Operation not supported, and the MAC stays", MACS, refuses,
    ),
    Claim(
        "vif-takes-mac", "The Xen NIC (t2) takes another MAC",
        "accepted, and the MAC is another", MACS, takes,
    ),
    Claim(
        "ixgbevf-refuses-mac", "The SR-IOV NIC (c3, c4, m4) refuses a MAC change",
        "Operation not permitted (inferred)",
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/sriov-networking.html", forbidden,
    ),
    Claim(
        "nested-virtualization", "On C8i, M8i and R8i an instance can run KVM",
        "there is /dev/kvm, with CpuOptions NestedVirtualization alone",
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/amazon-ec2-nested-virtualization.html",
        nested,
    ),
    Claim(
        "two-nics-no-public-address", "Two NICs at launch get no public address",
        "InvalidParameterCombination",
        "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-instance-addressing.html",
        refused,
    ),
)  # fmt: skip
