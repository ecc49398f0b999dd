"""The lab's own SSH keys: made here, never taken from the user's ~/.ssh."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def make_key(comment: str) -> tuple[str, str]:
    """Make an ed25519 key: the private part as OpenSSH's PEM, the public part as its line."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), f"{public.decode()} {comment}"


def key_file(folder: Path) -> Path:
    """Name the lab's private key."""
    return folder / "id_ed25519"
