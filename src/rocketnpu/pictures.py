"""From a picture file to the bytes of a model's input tensor."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from rocketnpu.errors import InputError
from rocketnpu.files.limits import PICTURE_BYTES, PICTURE_FORMATS, PICTURE_PIXELS
from rocketnpu.files.reading import read_file
from rocketnpu.graph import DType, Quantisation, Tensor

_MODES = {1: "L", 3: "RGB"}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, OverflowError, struct.error)
_BITS = {DType.UINT8: np.iinfo(np.uint8), DType.INT8: np.iinfo(np.int8)}

# What real numbers a model can mean by the pixel values 0 and 255.
_SYMMETRIC, _UNIT, _RAW, _CENTRED = (-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (-128.0, 127.0)
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue from 0 to 1, by which models of PyTorch are normalised: to about -2.12 .. 2.64."""
_MARGIN_STEPS = 2.0
_LARGEST_SMALL_REAL = 8.0

_AT_MOST_16_BITS = {"PNG", "PPM"}
"""Formats that have no 32-bit grey; Pillow gives their 16 bits in its mode of 32 (for PNG older ones do)."""


def load_picture(path: str | Path, height: int, width: int, channels: int = 3) -> npt.NDArray[np.uint8]:
    """Read a picture as uint8 of shape ``(1, height, width, channels)``: RGB for 3 channels, grey for 1.

    The whole picture is resized (bilinear, no crop, its proportions are not kept), turned upright first if its EXIF
    data say that it lies on its side. Transparency is ignored, and of several frames the first is taken.

    Raises:
        InputError: the file is missing, is no picture, is damaged or cut short, or is too large to be decoded safely;
            or ``channels`` is neither 1 nor 3.
    """
    mode = _MODES.get(channels)
    if mode is None:
        raise InputError(f"a picture has 1 or 3 channels, but the model's input has {channels}")
    if height < 1 or width < 1:
        raise InputError(f"a picture cannot be resized to {height} x {width}")
    upright = _decode(Path(path)).convert(mode)
    resized = upright.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized, np.uint8).reshape(1, height, width, channels)


def read_pixels(path: str | Path) -> npt.NDArray[np.uint8]:
    """Read a picture in its own size, upright, as RGB: uint8 of shape ``(rows, columns, 3)``.

    Raises:
        InputError: as :func:`load_picture`.
    """
    return np.asarray(_decode(Path(path)).convert("RGB"), np.uint8)


def picture_for(path: str | Path, tensor: Tensor) -> npt.NDArray[np.generic]:
    """Read a picture as the input ``tensor`` wants it: its NHWC shape and its element type (:func:`quantise_pixels`).

    Raises:
        InputError: the picture cannot be read, or the tensor is not a picture's (batch 1, 1 or 3 channels, 8-bit or
            float32).
    """
    if len(tensor.shape) != 4 or tensor.shape[0] != 1:
        shape = " x ".join(map(str, tensor.shape))
        raise InputError(
            f"the model's input {tensor.name!r} ({shape}) is not one picture (1 x height x width x channels)"
        )
    _, height, width, channels = tensor.shape
    return quantise_pixels(load_picture(path, height, width, channels), tensor.dtype, tensor.quantisation)


def quantise_pixels(
    pixels: npt.NDArray[np.uint8], dtype: DType, quantisation: Quantisation | None
) -> npt.NDArray[np.generic]:
    """Turn pixel values 0..255 into elements of an input tensor.

    A TFLite file does not say how its pictures were normalised, but its quantisation says which real numbers the input
    can hold, and that is chosen by:

    * The range is about [-1, 1], [0, 1], [0, 255] or [-128, 127] (within two steps at either end), or there is no
      quantisation: a step of the tensor is a step of the pixel, so uint8 takes the pixel as it is, and int8 takes the
      pixel minus 128. All MobileNets are of this kind.
    * Any other range: the real number is ``pixel / 127.5 - 1`` if the range reaches below -0.5 (``pixel - 128`` if it
      also reaches above 8), else ``pixel / 255`` if it ends below 8, else ``pixel``. It is divided by the scale,
      rounded half to even, offset by the zero point, and clamped.
    * float32 takes ``pixel / 127.5 - 1``.

    Raises:
        InputError: the tensor has another element type, or a quantisation per channel.
    """
    if dtype is DType.FLOAT32:
        return np.asarray(pixels / 127.5 - 1.0, np.float32)
    limits = _BITS.get(dtype)
    if limits is None:
        raise InputError(
            f"a picture cannot be given to an input of {dtype.value}; uint8, int8 and float32 can take one"
        )
    if quantisation is None:
        return (pixels.astype(np.int16) + limits.min).astype(limits.dtype)
    if quantisation.is_per_channel:
        raise InputError("a picture cannot be given to an input that is quantised per channel")
    scale, zero_point = quantisation.scale, quantisation.zero_point
    low, high = (scale * (limit - zero_point) for limit in (int(limits.min), int(limits.max)))
    if any(_about(low, high, reals, scale) for reals in (_SYMMETRIC, _UNIT, _RAW, _CENTRED)):
        return (pixels.astype(np.int16) + limits.min).astype(limits.dtype)
    first, last = _real_range(low, high)
    real = first + pixels.astype(np.float64) * ((last - first) / 255.0)
    steps = np.rint(real / scale) + zero_point
    return np.asarray(np.clip(steps, limits.min, limits.max), limits.dtype)


def normalise_pixels(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Turn pixels of three channels into what models of PyTorch take: ``pixel / 255`` less ImageNet's mean, over its
    deviation, for each channel.
    """
    found = (pixels.astype(np.float32) / np.float32(255) - np.array(_MEANS, np.float32)) / np.array(
        _DEVIATIONS, np.float32
    )
    return np.asarray(found, np.float32)


def _about(low: float, high: float, reals: tuple[float, float], step: float) -> bool:
    margin = _MARGIN_STEPS * step
    return abs(low - reals[0]) <= margin and abs(high - reals[1]) <= margin


def _real_range(low: float, high: float) -> tuple[float, float]:
    if low < -0.5:
        return _CENTRED if high > _LARGEST_SMALL_REAL else _SYMMETRIC
    return _RAW if high > _LARGEST_SMALL_REAL else _UNIT


def _decode(path: Path) -> Image.Image:
    """Return the first frame, upright and with 8 bits a channel."""
    data = read_file(path, PICTURE_BYTES, "picture", InputError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data), formats=PICTURE_FORMATS) as opened:
                if opened.width * opened.height > PICTURE_PIXELS:
                    raise InputError(f"picture {path} is too large: it has {opened.width} x {opened.height} pixels")
                opened.load()
                wide = opened.mode == "I" and opened.format in _AT_MOST_16_BITS
                upright = ImageOps.exif_transpose(opened)
                return _eight_bits(upright, path, at_most_16=wide)
    except (Image.DecompressionBombError, MemoryError):
        raise InputError(f"picture {path} is too large: more than {PICTURE_PIXELS} pixels once decoded") from None
    except UnidentifiedImageError:
        raise InputError(f"{path} is not a picture of a known format ({', '.join(PICTURE_FORMATS)})") from None
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"cannot read picture {path}: {reason}") from None


def _eight_bits(picture: Image.Image, path: Path, *, at_most_16: bool) -> Image.Image:
    """Scale 16-bit grey down; Pillow's own conversion would clamp it at 255."""
    if picture.mode.startswith("I;16") or at_most_16:
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise InputError(f"picture {path} has 32 bits a pixel; save it with 8 or 16")
    return picture
