"""The protocol between a remote store and the admin that serves it: addresses below ``/stores``.

| request | meaning | answer |
|---|---|---|
| ``GET datasets`` | what is stored | JSON, a list of StoredFile |
| ``POST datasets`` | a new dataset, its bytes as the body | JSON, StoredData |
| ``GET datasets/ID`` | its bytes; ``Range: bytes=N-`` for the rest | bytes |
| ``POST datasets/ID/verify`` | read it and compare it with its checksum | JSON, null |
| ``DELETE datasets/ID`` | remove it, or what a writer has left | JSON, null |
| ``GET params`` | what is stored | JSON, a list of StoredFile |
| ``PUT params/ID`` | parameters, a safetensors file as the body | JSON, null |
| ``GET params/ID`` | their bytes | bytes |
| ``DELETE params/ID`` | remove them, or what a writer has left | JSON, null |
| ``PUT validation/ID`` | what stands beside them, a safetensors file as the body | JSON, null |
| ``GET validation/ID?max_bytes=N`` | the same | bytes; none when there is nothing |
| ``HEAD validation/ID`` | whether there is something | 200 or 404 |
| ``DELETE validation/ID`` | remove it | JSON, null |

The token is in ``Authorization: Bearer``. A refusal has the form of all refusals of the admin.
"""

from __future__ import annotations

PATH = "/stores"
DATASETS = "datasets"
PARAMS = "params"
VALIDATION = "validation"
PIECE_BYTES = 1 << 20
MAX_BYTES_FIELD = "max_bytes"
