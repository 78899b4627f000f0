"""DICOM files as scanners write them, by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write(path: Path, pixels: Any, bits: int = 0, colours: str = "MONOCHROME2", **elements: Any) -> Path:
    """pixels: (H, W), (N, H, W) for MONOCHROME with `NumberOfFrames`, or (H, W, 3). bits: stored, of those allocated.
    elements: any others by keyword; `syntax` compresses."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    syntax = elements.pop("syntax", None)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = pixels.shape[1:3] if "NumberOfFrames" in elements else pixels.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 3 if colours == "RGB" else 1, colours
    if colours == "RGB":
        data.PlanarConfiguration = 0
    data.BitsAllocated = pixels.dtype.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in elements.items():
        setattr(data, name, value)
    data.PixelData = pixels.tobytes()
    if syntax is not None:
        data.compress(syntax)
    data.save_as(path, enforce_file_format=True)
    return path
