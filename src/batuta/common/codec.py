"""Values between Python and JSON: by annotation, by signature, and by tag where there is none."""

from __future__ import annotations

from batuta.common.misfit import Misfit, Uncallable, Unfitting, Unstorable
from batuta.common.record import codec_of
from batuta.common.signature import (
    SignatureCodec,
    Unresolved,
    check_call,
    signature_codec,
)
from batuta.common.typed import ANY, Codec
from batuta.common.untyped import decode_any, encode_any

__all__ = [
    "ANY",
    "Codec",
    "Misfit",
    "SignatureCodec",
    "Uncallable",
    "Unfitting",
    "Unresolved",
    "Unstorable",
    "check_call",
    "codec_of",
    "decode_any",
    "encode_any",
    "signature_codec",
]
