"""Images as people see them: upright, in 8 bits a channel, in sRGB, on white where they are transparent.

A viewer does all of this without a word, and so must training, serving and every loader, in the same way.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


def as_seen(image: Image.Image, *, keeps_alpha: bool = False) -> Image.Image:
    """The image in the mode ``L`` or ``RGB`` (with alpha where it is kept): the first frame of several.

    Args:
        image: as Pillow has opened it.
        keeps_alpha: whether what is transparent stays so; else it shows white.

    Raises:
        OSError, ValueError, SyntaxError: its data is damaged or cut off.
    """
    from PIL import ImageOps

    image.load()
    image = _in_srgb(_in_8_bits(ImageOps.exif_transpose(image)))
    is_transparent = image.mode in _ALPHA or "transparency" in image.info
    if not is_transparent:
        return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
    image = image.convert("RGBA")
    return image if keeps_alpha else _on_white(image)


def _in_8_bits(image: Image.Image) -> Image.Image:
    """What a file of 16 bits a pixel holds, 0 to 65535, as 0 to 255."""
    if image.mode not in _DEEP:
        return image
    import numpy as np
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    return Image.fromarray(np.rint(np.clip(values, 0, 65535) / 257).astype(np.uint8))


def _in_srgb(image: Image.Image) -> Image.Image:
    """By its colour profile; one that cannot be read is left out, as viewers do."""
    profile = image.info.get("icc_profile")
    if not profile or image.mode not in ("RGB", "CMYK"):
        return image
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(own):
            return image
        found = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if found is None else found


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image).convert("RGB")
