"""What is expected of each strategy on each NIC and each bridge, and the source that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passes", "dropped", "refused"]

DRIVERS = {"vif": "t2.large", "ena": "t3.large"}  # NIC driver -> an instance type that has it
BRIDGES = {"Open vSwitch": "openvswitch", "Linux bridge": "linux"}
STRATEGIES = ("nothing", "swap", "share", "share+FDB", "mac-nat")

VPC, BRIDGE = "VPC", "bridge"
TUTORIAL = "https://superuser.openstack.org/articles/deploying-openstack-aws-tutorial/"
ENA = (
    "https://github.com/torvalds/linux/blob/master/drivers/net/ethernet/amazon/ena/ena_netdev.c"
    " (ena_netdev_ops has no ndo_set_mac_address; dev_set_mac_address: EOPNOTSUPP)"
)
FDB = (
    "https://github.com/torvalds/linux/blob/master/net/bridge/br_input.c"
    " (br_handle_frame_finish: a local entry's frames go to the host alone)"
)
NORMAL = "ovs-actions(7), NORMAL: ports have no entries of their own, all frames are switched"
REWRITE = "ovs-actions(7), set_field: Ethernet and ARP addresses are rewritten"
NO_FDB = "bridge(8), `master`: the operation is the Linux bridge's, and the NIC is in none"
NO_FLOWS = "ovs-ofctl(8): OpenFlow is for bridges of Open vSwitch"


@dataclass(frozen=True)
class Expected:
    """An outcome, where what is dropped is dropped, and who says so."""

    outcome: Outcome
    dropped_at: str
    source: str


def expected(driver: str, bridge: str, strategy: str) -> Expected:
    """Give what a cell of the matrix is expected to show.

    >>> expected("ena", "Linux bridge", "share").dropped_at
    'bridge'
    """
    linux = bridge == "Linux bridge"
    if strategy == "nothing":
        return Expected("dropped", VPC, TUTORIAL)
    if strategy == "swap":
        if driver == "ena":
            return Expected("refused", "", ENA)
        return Expected("passes", "", TUTORIAL)
    if strategy == "share":
        return Expected("dropped", BRIDGE, FDB) if linux else Expected("passes", "", NORMAL)
    if strategy == "share+FDB":
        return Expected("passes", "", FDB) if linux else Expected("refused", "", NO_FDB)
    return Expected("refused", "", NO_FLOWS) if linux else Expected("passes", "", REWRITE)
