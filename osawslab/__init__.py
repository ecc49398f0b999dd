"""osawslab: learn, try and keep running OpenStack on AWS EC2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from osawslab.errors import LabError
from osawslab.settings import Settings

if TYPE_CHECKING:
    from osawslab.experiment import matrix
    from osawslab.lab import Lab
    from osawslab.observe.capture import load_capture

__all__ = ["Lab", "LabError", "Settings", "load_capture", "matrix"]


def __getattr__(name: str) -> Any:
    if name == "Lab":  # boto3 and fabric are imported only by those who use them
        from osawslab.lab import Lab

        return Lab
    if name == "load_capture":
        from osawslab.observe.capture import load_capture

        return load_capture
    if name == "matrix":
        from osawslab.experiment import matrix

        return matrix
    raise AttributeError(name)
