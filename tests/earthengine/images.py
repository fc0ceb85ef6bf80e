"""Images as Earth Engine has them: loading, choosing bands, arithmetic and masks. Names and arguments are Earth Engine's."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .archive import Archive
from .assumptions import assumed
from .evaluate import implements
from .values import Band, Collection, Grid, Image, Pixels, Refusal

ARCHIVE: list[Archive] = []
"""The one archive that is served."""

# --- Images: where they are from ----------------------------------------------------------------------------------------


@implements("ImageCollection.load")
def image_collection_load(id_: str) -> Collection:
    return Collection(tuple(ARCHIVE[0].collection(id_)))


@implements("Image.load")
def image_load(id_: str) -> Image:
    return ARCHIVE[0].image(id_)


@implements("Image.constant")
def image_constant(value: Any) -> Image:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"Image.constant: {value!r} is not implemented, only numbers are")

    def compute(grid: Grid) -> Pixels:
        return Pixels(np.full(grid.shape, float(value)), np.ones(grid.shape, np.bool_))

    return Image(bands={"constant": Band("int32" if isinstance(value, int) else "float64", compute)})


@implements("ImageCollection.fromImages")
def image_collection_from_images(images: Sequence[Image]) -> Collection:
    out = Collection(tuple(images))
    out.images()
    if assumed().from_images == "keep":
        return out
    return Collection(tuple(image.with_properties({"system:index": str(i)}) for i, image in enumerate(images)))


# --- Images: bands ------------------------------------------------------------------------------------------------------


@implements("Image.select")
def image_select(input_: Image, bandSelectors: Sequence[Any]) -> Image:  # noqa: N803
    names = list(input_.bands)
    chosen = [names[selector] if isinstance(selector, int) else selector for selector in bandSelectors]
    for name in chosen:
        if name not in input_.bands:
            raise Refusal(f"Image.select: Band pattern '{name}' did not match any bands. Available bands: {names}")
    return replace(input_, bands={name: input_.bands[name] for name in chosen})


@implements("Image.rename")
def image_rename(input_: Image, names: Sequence[str]) -> Image:
    if len(names) != len(input_.bands):
        raise Refusal(f"Image.rename: {len(names)} names for {len(input_.bands)} bands")
    return replace(input_, bands=dict(zip(names, input_.bands.values(), strict=True)))


@implements("Image.addBands")
def image_add_bands(dstImg: Image, srcImg: Image) -> Image:  # noqa: N803
    if shared := set(dstImg.bands) & set(srcImg.bands):
        raise Refusal(f"Image.addBands: both images have the bands {sorted(shared)}; this server does not rename them")
    return replace(dstImg, bands={**dstImg.bands, **srcImg.bands})


@implements("Image.resample")
def image_resample(image: Image, mode: str) -> Image:
    if mode != "bilinear":
        raise Refusal(f"Image.resample: the mode {mode!r} is not implemented, only bilinear is")

    def smooth(band: Band) -> Band:
        if band.smooth is None:
            raise Refusal("Image.resample: this server interpolates only bands as they are stored")
        return Band(band.dtype, band.smooth)

    return replace(image, bands={name: smooth(band) for name, band in image.bands.items()})


# --- Images: pixel by pixel ---------------------------------------------------------------------------------------------


def _pairwise(name: str, dtype: str | None, compute: Callable[[Any, Any], Any]) -> None:
    @implements(f"Image.{name}")
    def function(image1: Image, image2: Image) -> Image:
        other = image2.only()

        def combined(band: Band) -> Band:
            def on(grid: Grid) -> Pixels:
                one, two = band.on(grid), other.on(grid)
                return Pixels(np.asarray(compute(one.values, two.values), np.float64), one.there & two.there)

            return Band(dtype or ("float64" if "float64" in (band.dtype, other.dtype) else band.dtype), on)

        return replace(image1, bands={key: combined(band) for key, band in image1.bands.items()})


_pairwise("eq", "uint8", operator.eq)
_pairwise("neq", "uint8", operator.ne)
_pairwise("gt", "uint8", operator.gt)
_pairwise("and", "uint8", np.logical_and)
_pairwise("or", "uint8", np.logical_or)
_pairwise("max", None, np.maximum)
_pairwise("add", None, operator.add)


@implements("Image.not")
def image_not(value: Image) -> Image:
    return value.each("uint8", lambda pixels: Pixels((pixels.values == 0).astype(np.float64), pixels.there))


@implements("Image.floor")
def image_floor(value: Image) -> Image:
    return value.each(None, lambda pixels: Pixels(np.floor(pixels.values), pixels.there))


@implements("Image.toFloat")
def image_to_float(value: Image) -> Image:
    return value.each("float32", lambda p: Pixels(p.values.astype(np.float32).astype(np.float64), p.there))


@implements("Image.toUint16")
def image_to_uint16(value: Image) -> Image:
    return value.each("uint16", lambda p: Pixels(np.trunc(np.clip(p.values, 0, 65_535)), p.there))


@implements("Image.mask")
def image_mask(image: Image) -> Image:
    return image.each("float64", lambda p: Pixels(p.there.astype(np.float64), np.ones_like(p.there)))


@implements("Image.updateMask")
def image_update_mask(image: Image, mask: Image) -> Image:
    keep = mask.only()

    def masked(band: Band) -> Band:
        def on(grid: Grid) -> Pixels:
            pixels, kept = band.on(grid), keep.on(grid)
            return Pixels(pixels.values, pixels.there & kept.there & (kept.values != 0))

        return Band(band.dtype, on)

    return replace(image, bands={name: masked(band) for name, band in image.bands.items()})


@implements("Image.unmask")
def image_unmask(input_: Image, value: Image | None, sameFootprint: bool) -> Image:  # noqa: N803
    if sameFootprint:
        raise Refusal("Image.unmask: sameFootprint=true is not implemented")
    filler = image_constant(0).only() if value is None else value.only()

    def filled(band: Band) -> Band:
        def on(grid: Grid) -> Pixels:
            pixels, other = band.on(grid), filler.on(grid)
            return Pixels(np.where(pixels.there, pixels.values, other.values), pixels.there | other.there)

        return Band(band.dtype, on)

    return replace(input_, bands={name: filled(band) for name, band in input_.bands.items()})
