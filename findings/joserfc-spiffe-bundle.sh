#!/usr/bin/env bash
# joserfc takes no key of a key set in which one key has a "use" that is not registered, such as those of SPIFFE.
#
# Expected:  "use" is "sig", "enc" or another value (RFC 7517, 4.2: "Other values MAY be used"). A reader of a key set
#            takes the keys that it understands and ignores the rest (RFC 7517, 5). The trust bundle of a SPIFFE domain
#            is a key set whose keys have "use" jwt-svid or x509-svid.
# Seen:      KeySet.import_key_set raises KeyParameterError for the whole set: the good key with "use" sig beside such
#            a key is not to be had. A key with an unknown "kty" is skipped. PyJWT and jwcrypto read the same sets
#            (controls).
# Versions:  PyPI joserfc 1.8.0; PyJWT 2.15.1 and jwcrypto 1.6.1 as controls; Python 3.11.
# Matters:   a server that publishes its keys beside those of a workload identity, or an operator who hands one key set
#            to several services: a backend with this library verifies nothing, though its own key is in the set.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv python
python/bin/pip install --quiet --disable-pip-version-check joserfc==1.8.0 PyJWT==2.15.1 jwcrypto==1.6.1

cat >run.py <<'PY'
import base64
import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import KeySet
from jwcrypto.jwk import JWKSet


def key(kid, use):
    numbers = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).rstrip(b"=").decode() for n in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "use": use}


def joserfc(keys):
    return sorted(key.kid for key in KeySet.import_key_set(keys).keys)


def jwcrypto(keys):
    return sorted(key.key_id for key in JWKSet.from_json(json.dumps(keys)))


def pyjwt(keys):
    return sorted(key.key_id for key in jwt.PyJWKSet.from_dict(keys).keys)


for name, other in [
    ("sig", key("other", "sig")),
    ("jwt-svid", key("other", "jwt-svid")),
    ("x509-svid", key("other", "x509-svid")),
    ("unknown kty", {"kty": "NEW", "kid": "other", "use": "sig"}),
]:
    for library in (joserfc, jwcrypto, pyjwt):
        try:
            seen = " ".join(library({"keys": [key("good", "sig"), other]}))
        except Exception as error:
            seen = type(error).__name__
        print(f"{name}: {library.__name__}: {seen}")
PY
timeout 60 python/bin/python run.py | tee seen
cat >expected <<'TXT'
sig: joserfc: good other
sig: jwcrypto: good other
sig: pyjwt: good other
jwt-svid: joserfc: KeyParameterError
jwt-svid: jwcrypto: good other
jwt-svid: pyjwt: good other
x509-svid: joserfc: KeyParameterError
x509-svid: jwcrypto: good other
x509-svid: pyjwt: good other
unknown kty: joserfc: good
unknown kty: jwcrypto: good
unknown kty: pyjwt: good
TXT
if diff expected seen; then
  echo "FINDING HOLDS: one key with an unregistered use makes the whole key set unreadable"
else
  echo "CHANGED: see the lines above (< as it was, > as it is)"
  exit 1
fi
