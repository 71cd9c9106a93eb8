"""The protocol between a remote store and the admin that serves it: addresses below ``/stores``.

What services call is declared in :mod:`rafiki.contract.service_calls`. Who looks after a store has these calls as well:

| request | meaning | answer |
|---|---|---|
| ``GET datasets`` | what is stored | JSON, a list of StoredFile |
| ``POST datasets`` | a new dataset, its bytes as the body | JSON, StoredData |
| ``POST datasets/ID/verify`` | read it and compare it with its checksum | JSON, null |
| ``DELETE datasets/ID`` | remove it, or what a writer has left | JSON, null |
| ``GET params`` | what is stored | JSON, a list of StoredFile |

The token is in ``Authorization: Bearer``. A refusal has the form of all refusals of the admin.
"""

from __future__ import annotations

from rafiki.contract.service_calls import STORES as PATH

__all__ = ["DATASETS", "DIRECT_FIELD", "MAX_BYTES_FIELD", "PARAMS", "PATH", "PIECE_BYTES", "VALIDATION"]

DATASETS = "datasets"
PARAMS = "params"
VALIDATION = "validation"
PIECE_BYTES = 1 << 20
MAX_BYTES_FIELD = "max_bytes"
DIRECT_FIELD = "direct"
