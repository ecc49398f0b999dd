"""Make the key pair of a CreateKeyPair call; only its public half goes into the journal."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from osawslab.region.wire import Form


def settle(call: Form) -> bytes:
    """Write public key and fingerprint into the call; give the private key (PEM).

    Fingerprints as EC2's: "Verify the fingerprint of your key pair".
    """
    if call.get("KeyType", "rsa") == "ed25519":
        edwards = ed25519.Ed25519PrivateKey.generate()
        public = edwards.public_key().public_bytes(
            forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH
        )
        blob = edwards.public_key().public_bytes_raw()
        head = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
        fingerprint = b64encode(hashlib.sha256(head + blob).digest()).decode()
        material = edwards.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption()
        )
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
        der = key.private_bytes(forms.Encoding.DER, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        fingerprint = hashlib.sha1(der).hexdigest()
        fingerprint = ":".join(fingerprint[at : at + 2] for at in range(0, 40, 2))
        material = key.private_bytes(
            forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, forms.NoEncryption()
        )
    call["PublicKey"], call["Fingerprint"] = public.decode(), fingerprint
    return material
