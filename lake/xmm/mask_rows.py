"""Masks as rows of the lake: the reader of the role ``masks``."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from lake.inputs import InputFile, Records
from lake.xmm.mask import ROLES, Mask, mask_of
from lake.xmm.options import is_yes
from lake.xmm.shapes import Regions

#: Options of a registration and what each means.
OPTIONS = {
    "exclude": "pixels that are cut out: zeros (default) or ones; of labels, ones: each label is "
    "cut out in a table of its own (zeros: is kept); of regions, ones (default): what they hold",
    "labelled": "yes: the values of the image are labels, each a mask of its own",
    "algorithm": "how pixels become boxes: rows, columns, merged, greedy, cover, fewest (default)",
    "name": "name of the mask (default: that of the file without extensions)",
    "obsid": "the one observation that the mask is for (default: all)",
}


def records(file: InputFile, data: bytes) -> Records:
    """Rows of `xmm.masks` and `xmm.mask_regions` for one file."""
    options = file.options
    mask = mask_of(
        str(file.path), data, exclude=options.get("exclude"), labelled=is_yes(file, "labelled"),
        algorithm=options.get("algorithm", "fewest"), name=options.get("name"),
    )  # fmt: skip
    regions: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}
    sizes: dict[int, dict[str, int]] = {}
    for part in mask.parts:
        size = sizes.setdefault(part.label, dict.fromkeys(ROLES, 0))
        size[part.role] += len(part.regions)
        key = {"mask": mask.name, "label": part.label, "role": part.role, "frame": part.frame}
        for row in _rows(part.regions):
            numbers[part.label] = n = numbers.get(part.label, 0) + 1
            regions.append(key | {"number": n} | row)
    rows = [_mask(mask, k, size, options.get("obsid")) for k, size in sizes.items()]
    return {"xmm.masks": rows, "xmm.mask_regions": regions}


def _mask(mask: Mask, label: int, size: dict[str, int], obsid: str | None) -> dict[str, Any]:
    height, width = mask.shape or (None, None)
    out, kept = (mask.pixels or {}).get(label, (None, None))
    return {
        "mask": mask.name,
        "label": label,
        "kind": mask.kind,
        "obsid": obsid,
        "exclude": mask.exclude,
        "width": width,
        "height": height,
        "pixel_scale": mask.pixel_scale,
        "pixels_excluded": out,
        "pixels_included": kept,
        "algorithm": mask.algorithm,
        "boxes_excluded": size["bkg"],
        "boxes_included": size["mask"],
        "fewest": mask.fewest,
        "notes": f"in detector pixels of {mask.exposure}" if mask.exposure else None,
    }


def _rows(regions: Regions) -> Iterator[dict[str, Any]]:
    """Columns of regions, row by row; what a shape lacks is null."""
    lengths = np.isfinite(regions.r).sum(axis=1).tolist()
    angles = np.isfinite(regions.rotang).sum(axis=1).tolist()
    columns = (regions.shape, regions.include, regions.x, regions.y, regions.component)
    for row, (shape, include, x, y, component) in enumerate(
        zip(*(c.tolist() for c in columns), strict=True)
    ):
        corners = regions.vertices.get(row)
        yield {
            "shape": shape,
            "include": include,
            "x": x,
            "y": y,
            "component": component,
            "r": regions.r[row, : lengths[row]] if lengths[row] else None,
            "rotang": regions.rotang[row, : angles[row]] if angles[row] else None,
            "vertices_x": None if corners is None else corners[:, 0],
            "vertices_y": None if corners is None else corners[:, 1],
        }
