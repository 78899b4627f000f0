"""Files that a person may take for images and that are not read: which kind each is, and how to bring it in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from latentry.data.files.header import shown
from latentry.data.files.kinds import content_kind


class Kind(NamedTuple):
    """name: of a kind of file. how: what brings such files in."""

    name: str
    how: str


_EXPORT = "save them as PNG or TIFF"
_SLIDE = Kind("a whole-slide image", "save tiles of it as PNG or TIFF, with OpenSlide or QuPath")
_MICROSCOPE = Kind("microscopy", "save them as TIFF, with Fiji (Bio-Formats)")
_RAW = Kind("a camera's raw format", "develop them to 16-bit TIFF or PNG, with darktable or dcraw")
_HEIF = Kind("a phone's HEIC photograph", "save them as PNG or JPEG, with heif-convert or ImageMagick")
_JPEG2000 = Kind("JPEG 2000", _EXPORT)
_VOLUME = Kind("NIfTI, a medical volume", "save its slices as 16-bit PNG or TIFF, with nibabel")
_VIDEO = Kind("video", "save frames as PNG: ffmpeg -i FILE frame%05d.png")
_PACKED = Kind("an archive", "unpack it")
_TABLE = Kind("a table that may hold images in its rows", "save each image as a file of its own")
_ARRAYS = Kind("packed arrays", "save each image as a PNG, a TIFF or an .npy file of its own")
_DICOM = Kind("DICOM, a medical image", "save them as 16-bit PNG or TIFF, with dcmj2pnm or pydicom")
_PICTURE = Kind("a picture of another format", _EXPORT)
_RANGE = Kind("a picture of high dynamic range", "save them as float TIFF")
_DRAWING = Kind("a drawing, not pixels", "draw it at a size as PNG, with Inkscape")
_PAGES = Kind("pages", "save them as PNG, with pdftoppm")

BY_SUFFIX: dict[str, Kind] = {
    **dict.fromkeys((".dcm", ".dicom", ".ima"), _DICOM),
    **dict.fromkeys((".nii", ".nii.gz", ".mgz", ".mha", ".mhd", ".nrrd"), _VOLUME),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".qptiff"), _SLIDE),
    **dict.fromkeys((".czi", ".lif", ".nd2", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".stk", ".zvi"), _MICROSCOPE),
    **dict.fromkeys((".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2", ".pef", ".srw", ".raw"), _RAW),
    **dict.fromkeys((".heic", ".heif", ".hif"), _HEIF),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf", ".j2c"), _JPEG2000),
    **dict.fromkeys((".mp4", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"), _VIDEO),
    **dict.fromkeys((".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar", ".tar.xz", ".tar.zst", ".gz", ".xz"), _PACKED),
    **dict.fromkeys((".parquet", ".arrow", ".feather", ".lmdb", ".mdb", ".tfrecord", ".tfrecords", ".rec"), _TABLE),
    **dict.fromkeys((".npz", ".npy", ".h5", ".hdf5", ".mat", ".pt", ".pth", ".pkl", ".zarr", ".fits"), _ARRAYS),
    **dict.fromkeys((".exr", ".hdr", ".pfm"), _RANGE),
    **dict.fromkeys((".svg", ".svgz", ".eps", ".ai"), _DRAWING),
    **dict.fromkeys((".pdf", ".djvu"), _PAGES),
    **dict.fromkeys((".avif", ".jxl", ".psd", ".xcf", ".kra", ".ico", ".icns", ".tga", ".dds", ".ktx"), _PICTURE),
    **dict.fromkeys(
        (".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".jfif", ".jpe", ".jif", ".jxr", ".qoi", ".emf"), _PICTURE
    ),
}
_BY_CONTENT: dict[str, Kind] = {
    "DICOM": _DICOM,
    "HEIC": _HEIF,
    "AVIF": _PICTURE,
    "JPEG 2000": _JPEG2000,
    "JPEG XL": _PICTURE,
    "CZI": _MICROSCOPE,
    "PSD": _PICTURE,
    "OpenEXR": _RANGE,
    "ZIP": _PACKED,
    "gzip": _PACKED,
    "HDF5": _ARRAYS,
    "NumPy": _ARRAYS,
    "PDF": _PAGES,
    "NIfTI": _VOLUME,
    **dict.fromkeys(("PNG", "JPEG", "WebP", "BMP", "GIF", "TIFF"), Kind("an image without its suffix", "rename them")),
}
_OPENED = 2000
"""Files of unknown suffix whose first bytes are looked at; beyond them a folder is no set of images."""


@dataclass
class Foreign:
    """What of a folder is not read. counts: files by suffix. first: the first of each. kinds: of those that a person
    may take for images, by suffix; the others are of no such kind."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)

    @property
    def images(self) -> dict[str, int]:
        """How many files of each kind that a person may take for images, by suffix."""
        return {suffix: count for suffix, count in self.counts.items() if suffix in self.kinds}

    @property
    def others(self) -> dict[str, int]:
        """How many of the other files, by suffix."""
        return {suffix: count for suffix, count in self.counts.items() if suffix not in self.kinds}

    def lines(self) -> list[str]:
        """One line for each kind: how many, what they are, how they are brought in."""
        return [
            f"{count} {suffix} file{'s' * (count > 1)} ({self.kinds[suffix].name}; first: "
            f"{shown(self.first[suffix])}): {self.kinds[suffix].how}"
            for suffix, count in self.images.items()
        ]


def sorted_out(root: Path, paths: Iterable[str]) -> Foreign:
    """Sort files that are neither images nor texts by suffix, and by content where the suffix says nothing."""
    foreign, opened = Foreign(), 0
    for path in paths:
        suffix = suffix_of(path)
        kind = BY_SUFFIX.get(suffix)
        if kind is None and opened < _OPENED and suffix not in _TEXTUAL:
            opened += 1
            named = content_kind(root / path)
            kind = _BY_CONTENT.get(named or "")
            suffix = f"{named} ({suffix or 'no suffix'})" if kind else suffix
        suffix = suffix or "no suffix"
        foreign.counts[suffix] = foreign.counts.get(suffix, 0) + 1
        foreign.first.setdefault(suffix, path)
        if kind is not None:
            foreign.kinds[suffix] = kind
    return foreign


_TEXTUAL = (".json", ".jsonl", ".csv", ".tsv", ".md", ".html", ".xml", ".yaml", ".yml", ".py", ".log", ".ini", ".toml")


def suffix_of(path: str) -> str:
    """The suffix in small letters, two of them where the last only says how the file is packed."""
    parts: Sequence[str] = Path(path).suffixes
    if len(parts) > 1 and parts[-1].lower() in (".gz", ".xz", ".zst") and len(parts[-2]) <= 5:
        return "".join(parts[-2:]).lower()
    return parts[-1].lower() if parts else ""
