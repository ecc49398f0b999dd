"""The local region: an EC2 API and a VPC on the Linux kernel, on this machine."""
