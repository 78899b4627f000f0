"""DICOM by pydicom (extra `dicom`): the values that the file means (rescaled), not those that it stores."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from latentry.data.files.header import Array, BadImage, Header, check_size
from latentry.data.files.limits import Limits
from latentry.data.files.quiet import quiet

_DEFLATED = "1.2.840.10008.1.2.1.99"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT")


def is_dicom(start: bytes) -> bool:
    """Whether these first bytes are those of a DICOM file (part 10 of the standard)."""
    return start[128:132] == b"DICM"


@dataclass(frozen=True)
class _Scan:
    """low, high: of stored values, as their bits allow. slope, intercept: to the values that are meant."""

    data: Any
    frames: int
    bands: int
    low: int
    high: int
    slope: float
    intercept: float
    dtype: str

    @property
    def grey(self) -> bool:
        return self.bands == 1


def header(path: str, limits: Limits, index: int = 0) -> Header:
    """Facts of one frame. Raises `BadImage` without the extra and for kinds that are not read."""
    with quiet():
        return _header(path, _scan(path, _pydicom(path)), limits, index)


def read(path: str, limits: Limits, index: int = 0) -> Array:
    """(H, W, C) of the header's dtype; MONOCHROME1, where large values are dark, is turned over."""
    library = _pydicom(path)
    with quiet():
        scan = _scan(path, library)
        _header(path, scan, limits, index)
        wanted = range(scan.frames) if limits.pages == "bands" else [index]
        frames = [_frame(path, library, scan, n) for n in wanted]
    return frames[0] if len(frames) == 1 else np.concatenate(frames, axis=-1)


def _pydicom(path: str) -> Any:
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        raise BadImage(path, "DICOM needs one more package: pip install 'latentry[dicom]'") from None


def _scan(path: str, library: Any) -> _Scan:
    meta = library.filereader.read_file_meta_info(path)
    if str(meta.get("TransferSyntaxUID", "")) == _DEFLATED:
        raise BadImage(path, "deflated DICOM is not read: its size is known only once inflated. Save it uncompressed")
    data = library.dcmread(path, stop_before_pixels=True)
    if "Rows" not in data or "Columns" not in data:
        raise BadImage(path, "a DICOM file without a picture")
    colours, bands = str(data.get("PhotometricInterpretation", "")), int(data.get("SamplesPerPixel", 1))
    if colours not in (_GREY if bands == 1 else _COLOURS):
        raise BadImage(path, f"DICOM of colours {colours} with {bands} bands is not read; save grey or RGB")
    if "ModalityLUTSequence" in data:
        raise BadImage(path, "DICOM with a table of values (Modality LUT) is not read; save the rescaled values")
    stored, signed = int(data.get("BitsStored", data.BitsAllocated)), int(data.get("PixelRepresentation", 0))
    if int(data.BitsAllocated) not in (8, 16, 32) or not 1 <= stored <= int(data.BitsAllocated):
        raise BadImage(path, f"DICOM of {data.BitsAllocated} bits a value is not read")
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    slope, intercept = (float(data.get(key) or usual) for key, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    dtype = _dtype(low * slope + intercept, high * slope + intercept, slope, intercept)
    return _Scan(data, int(data.get("NumberOfFrames") or 1), bands, low, high, slope, intercept, dtype)


def _dtype(first: float, last: float, slope: float, intercept: float) -> str:
    """The smallest type for these values: float only where they are no whole numbers."""
    low, high = sorted((first, last))
    if not (slope.is_integer() and intercept.is_integer()):
        return "float32"
    for name in ("uint8", "uint16", "int16", "uint32", "int32"):
        facts = np.iinfo(name)
        if facts.min <= low and high <= facts.max:
            return name
    return "float32"


def _header(path: str, scan: _Scan, limits: Limits, index: int) -> Header:
    data, frames = scan.data, scan.frames
    channels = scan.bands * (frames if limits.pages == "bands" else 1)
    if index >= frames:
        raise BadImage(path, f"has {frames} frames, not one of number {index}")
    depth = np.dtype(scan.dtype).itemsize
    check_size(path, int(data.Columns), int(data.Rows), channels * max(depth, int(data.BitsAllocated) // 8), limits)
    plain = scan.slope == 1 and scan.intercept == 0
    bits = int(data.get("BitsStored", 0)) or None
    taken = {"each": "each used", "bands": "read as bands of one"}
    usual = "only the first is used; data.pages: each or bands takes all"
    return Header(
        int(data.Columns),
        int(data.Rows),
        channels,
        8 * depth,
        "DICOM",
        frames=1 if limits.pages == "bands" else frames,
        dtype=scan.dtype,
        bits=bits if plain and bits != 8 * depth else None,
        no_data=_padding(scan),
        stack=(f"{frames} frames: {taken.get(limits.pages, usual)}",) if frames > 1 else (),
        window=_window(data),
    )


def _padding(scan: _Scan) -> float | None:
    value = scan.data.get("PixelPaddingValue")
    return None if value is None or not scan.grey else float(_meant(scan, np.array([int(value)]))[0])


def _window(data: Any) -> tuple[float, float] | None:
    """The range in which the file asks to be shown (C.11.2.1.2 of part 3): centre and width, the first of several."""
    centre, width = data.get("WindowCenter"), data.get("WindowWidth")
    if centre is None or width is None:
        return None
    first = [
        float(value[0] if isinstance(value, list) or hasattr(value, "append") else value) for value in (centre, width)
    ]
    return first[0] - 0.5 - (first[1] - 1) / 2, first[0] - 0.5 + (first[1] - 1) / 2


def _meant(scan: _Scan, stored: Array) -> Array:
    values = stored.astype(np.int64)
    if scan.grey and str(scan.data.PhotometricInterpretation) == "MONOCHROME1":
        values = scan.low + scan.high - values
    if scan.slope == 1 and scan.intercept == 0:
        return values
    return values * scan.slope + scan.intercept


def _frame(path: str, library: Any, scan: _Scan, index: int) -> Array:
    data = scan.data
    try:
        pixels = importlib.import_module("pydicom.pixels").pixel_array(path, index=index)
    except (ImportError, NotImplementedError, RuntimeError):
        name = getattr(library.filereader.read_file_meta_info(path).TransferSyntaxUID, "name", "this one")
        reason = f"damaged, or compressed as is not read here ({name}); save it uncompressed (dcmdjpeg, gdcmconv --raw)"
        raise BadImage(path, reason) from None
    stored = np.asarray(pixels).reshape(int(data.Rows), int(data.Columns), scan.bands)
    return stored.astype(scan.dtype) if not scan.grey else _meant(scan, stored).astype(scan.dtype)
