"""The lab's own SSH keys: made here, never taken from the user's ~/.ssh."""

from __future__ import annotations

import hmac
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PROOF = "osawslab-host-key-proof"  # the word before a proof


def proof(secret: str, key: str) -> str:
    """Write the line that proves a public key (OpenSSH's, without a comment) to who has the secret.

    >>> proof("s", "ssh-ed25519 AAAA")[:24]
    'osawslab-host-key-proof '
    """
    return f"{PROOF} {hmac.new(secret.encode(), key.encode(), 'sha256').hexdigest()}"


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


def keep(path: Path, text: str) -> None:
    """Write a file of the lab's, for its owner alone: it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    part.replace(path)


def keep_key(path: Path, comment: str) -> None:
    """Make a key and keep it: `path` appears last and whole, its public line in `path`.pub."""
    private, public = make_key(comment)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".pub").write_text(public + "\n")
    keep(path, private)
