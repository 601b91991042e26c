"""Pairs from real files: pictures with label images, volumes with segmentations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from PIL import Image

from AutoPromptSAMLib.errors import ImageError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.geometry.views import radiological_plane
from AutoPromptSAMLib.images import load_volume, save_segmentation
from AutoPromptSAMLib.supports import SupportError, pairs_from_files, pairs_from_volume

from ..conftest import SentenceCheck
from .doubles import blob_picture


@pytest.fixture
def picture(tmp_path: Path) -> tuple[Path, Path]:
    """A photograph and its labels: 1 a ring, 3 the disc in it."""
    image, disc = blob_picture(40, 50, size=96, radius=12)
    _, around = blob_picture(40, 50, size=96, radius=20)
    labels = np.where(disc, 3, np.where(around, 1, 0)).astype(np.uint8)
    paths = (tmp_path / "eye.png", tmp_path / "eye-labels.png")
    Image.fromarray(image[:80]).save(paths[0])
    Image.fromarray(labels[:80]).save(paths[1])
    return paths


@pytest.fixture(scope="module")
def body() -> tuple[sitk.Image, sitk.Image]:
    """A CT-like volume of 30 slices as ITK holds it, and its labels: 1 a ball on slices 5 to 24, 2 one on 10 to 19."""
    k, j, i = np.mgrid[:30, :40, :48]
    ball = ((k - 14.5) / 10) ** 2 + ((j - 15) / 9) ** 2 + ((i - 14) / 9) ** 2 < 1
    rod = ((k - 14.5) / 5) ** 2 + ((j - 25) / 7) ** 2 + ((i - 36) / 7) ** 2 < 1
    array = np.random.default_rng(0).normal(-900, 10, k.shape)
    array[ball], array[rod] = 60, 120
    image = sitk.GetImageFromArray(array.astype(np.int16))
    labels = sitk.GetImageFromArray((ball + 2 * rod).astype(np.uint8))
    for each in (image, labels):
        each.SetSpacing((0.8, 0.8, 2.5))
        each.SetOrigin((-10, 30, 700))
    return image, labels


def written(folder: Path, image: sitk.Image, labels: sitk.Image, order: str = "") -> tuple[Path, Path]:
    paths = (folder / f"smith_john{order}.nii.gz", folder / f"seg{order}.nii.gz")
    for path, each in zip(paths, (image, labels), strict=True):
        sitk.WriteImage(sitk.DICOMOrient(each, order) if order else each, str(path))
    return paths


def test_a_picture_and_its_labels(picture: tuple[Path, Path]) -> None:
    objects, (pair,) = pairs_from_files(*picture)
    assert [each.name for each in objects] == ["label 1", "label 3"]
    assert pair.image.shape == (80, 96, 3)
    np.testing.assert_array_equal(pair.image, np.array(Image.open(picture[0])))
    np.testing.assert_array_equal(pair.masks["label 3"], np.array(Image.open(picture[1])) == 3)
    assert (pair.spacing, pair.view) == (None, None)
    assert "eye" not in pair.name + pair.source


def test_labels_get_the_names_that_are_given(picture: tuple[Path, Path]) -> None:
    labels = np.array(Image.open(picture[1]))
    _, (two,) = pairs_from_files(*picture, ["rim", "cup"])  # two names for labels 1 and 3
    assert two.objects == ("rim", "cup")
    np.testing.assert_array_equal(two.masks["cup"], labels == 3)
    _, (three,) = pairs_from_files(*picture, ["rim", "vessel", "cup"])  # label 2 is not on this image
    np.testing.assert_array_equal(three.masks["cup"], labels == 3)
    assert not three.masks["vessel"].any()
    _, (one,) = pairs_from_files(*picture, ["disc"])
    np.testing.assert_array_equal(one.masks["disc"], labels > 0)


def test_wrong_files_are_one_sentence(picture: tuple[Path, Path], tmp_path: Path, one_sentence: SentenceCheck) -> None:
    image, labels = picture
    values = np.array(Image.open(labels))

    def saved(name: str, pixels: np.ndarray) -> Path:
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name)
        return tmp_path / name

    with one_sentence(SupportError, "1, 7, 9", "one name for each"):
        pairs_from_files(image, saved("more.png", np.where(values == 3, 7, values) + 9 * (values == 0)), ["a", "b"])
    with one_sentence(SupportError, "96 x 40", "96 x 80"):
        pairs_from_files(image, saved("small.png", values[:40]))
    with one_sentence(SupportError, "shows no object"):
        pairs_from_files(image, saved("empty.png", values * 0))
    with one_sentence(ImageError, "does not exist"):
        pairs_from_files(image, tmp_path / "nowhere.png")


def test_slices_of_a_volume_that_show_its_objects(body: tuple[sitk.Image, sitk.Image], tmp_path: Path) -> None:
    image, labels = written(tmp_path, *body)
    objects, pairs = pairs_from_files(image, labels, ["ball", "rod"])
    assert [each.name for each in objects] == ["ball", "rod"]
    assert {pair.view for pair in pairs} == {"axial"}
    assert pairs[0].spacing == pytest.approx((0.8, 0.8))
    at = [int(pair.name.removeprefix("axial ")) for pair in pairs]
    assert at == sorted(at)
    truth = sitk.GetArrayFromImage(body[1])
    assert all(pair.objects == ("ball", "rod") for pair in pairs)
    for index, pair in zip(at, pairs, strict=True):
        for value, name in ((1, "ball"), (2, "rod")):
            assert pair.masks[name].sum() == (truth[index] == value).sum()
    assert {3, 26} <= set(at)  # beyond the ball
    assert any(not pair.masks["rod"].any() and pair.masks["ball"].any() for pair in pairs)
    assert not any(word in f"{pair.name} {pair.source}" for pair in pairs for word in ("smith", "seg", "nii"))


def test_the_order_of_voxels_in_the_files_does_not_matter(body: tuple[sitk.Image, sitk.Image], tmp_path: Path) -> None:
    first = {pair.id for pair in pairs_from_files(*written(tmp_path, *body))[1]}
    for order in ("RAS", "LAI", "PIR"):
        assert {pair.id for pair in pairs_from_files(*written(tmp_path, *body, order))[1]} == first


def test_a_segmentation_keeps_its_names_and_may_be_cropped(
    body: tuple[sitk.Image, sitk.Image], tmp_path: Path
) -> None:
    image, _ = written(tmp_path, *body)
    geometry = load_volume(image).geometry
    labels = sitk.GetArrayFromImage(body[1])
    lower = (4, 3, 2)
    cut = labels[4:26, 3:33, 2:44]
    path = tmp_path / "organs.seg.nrrd"
    save_segmentation(path, {"Ball": cut == 1, "Rod": cut == 2}, geometry.cropped(lower, cut.shape))
    objects, pairs = pairs_from_files(image, path)
    assert [each.name for each in objects] == ["Ball", "Rod"]
    whole = {pair.id for pair in pairs_from_files(*written(tmp_path, *body), ["a", "b"])[1]}
    assert {pair.id for pair in pairs} == whole
    objects, pairs = pairs_from_files(image, path, ["Rod"])
    assert [each.name for each in objects] == ["Rod"]
    assert all(pair.objects == ("Rod",) for pair in pairs)


@pytest.mark.parametrize("names", [("Segment_left", "Segment_right"), ("Segment_1", "Segment_1 (1)")])
def test_names_that_only_begin_like_those_of_labels(
    body: tuple[sitk.Image, sitk.Image], tmp_path: Path, names: tuple[str, str], one_sentence: SentenceCheck
) -> None:
    image, _ = written(tmp_path, *body)
    path, labels = tmp_path / "organs.seg.nrrd", sitk.GetArrayFromImage(body[1])
    save_segmentation(path, {names[0]: labels == 1, names[1]: labels == 2}, load_volume(image).geometry)
    assert [each.name for each in pairs_from_files(image, path)[0]] == list(names)
    with one_sentence(SupportError, 'no object "left"', names[1]):
        pairs_from_files(image, path, ["left"])


def test_segmentations_of_something_else_are_refused(
    body: tuple[sitk.Image, sitk.Image], tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    image, _ = written(tmp_path, *body)
    path = tmp_path / "organs.seg.nrrd"
    geometry = load_volume(image).geometry
    mask = sitk.GetArrayFromImage(body[1]) == 1
    save_segmentation(path, {"Ball": mask}, geometry)
    with one_sentence(SupportError, '"Liver"', "Ball"):
        pairs_from_files(image, path, ["Liver"])
    elsewhere = np.array(geometry.ijk_to_ras)
    elsewhere[2, 3] += 100.3
    save_segmentation(path, {"Ball": mask}, VolumeGeometry(geometry.shape, elsewhere))
    with one_sentence(SupportError, "elsewhere", "resample"):
        pairs_from_files(image, path)


def test_drawn_slices_alone_are_taken_and_say_nothing_of_others(body: tuple[sitk.Image, sitk.Image]) -> None:
    volume, masks = _loaded(body)
    drawn = np.zeros_like(masks["ball"])
    drawn[:, [10, 15, 19]] = masks["ball"][:, [10, 15, 19]]  # coronal slices
    rod = np.zeros_like(drawn)
    rod[:, 27] = masks["rod"][:, 27]
    pairs = pairs_from_volume(volume, {"ball": drawn, "rod": rod})
    assert [(pair.name, pair.objects) for pair in pairs] == [
        ("coronal 10", ("ball",)),
        ("coronal 15", ("ball",)),
        ("coronal 19", ("ball",)),
        ("coronal 27", ("rod",)),
    ]
    plane = radiological_plane(volume.geometry, 1, 15)
    assert pairs[1].image.shape[:2] == plane.shape


def test_the_slices_that_are_asked_for(body: tuple[sitk.Image, sitk.Image]) -> None:
    volume, masks = _loaded(body)
    pairs = pairs_from_volume(volume, {"ball": Crop.from_full(masks["ball"])}, slices=[12, 7], name="case 1")
    assert [pair.name for pair in pairs] == ["case 1 axial 7", "case 1 axial 12"]


def test_nothing_annotated_is_one_sentence(body: tuple[sitk.Image, sitk.Image], one_sentence: SentenceCheck) -> None:
    volume, masks = _loaded(body)
    with one_sentence(SupportError, "nothing annotated"):
        pairs_from_volume(volume, {"ball": masks["ball"] & False})
    with one_sentence(SupportError, "choose others"):
        pairs_from_volume(volume, {"ball": masks["ball"]}, slices=[0], complete=False)


def _loaded(body: tuple[sitk.Image, sitk.Image]) -> tuple[Volume, dict[str, np.ndarray]]:
    image, labels = (sitk.GetArrayFromImage(each) for each in body)
    affine = np.diag([-0.8, -0.8, 2.5, 1.0])
    return Volume(image, VolumeGeometry(image.shape, affine)), {"ball": labels == 1, "rod": labels == 2}


def test_a_volume_is_no_mask_of_a_picture_and_neither_is_a_folder(
    picture: tuple[Path, Path], body: tuple[sitk.Image, sitk.Image], tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    sitk.WriteImage(body[1], str(tmp_path / "labels.nii.gz"))
    with one_sentence(SupportError, "48 x 40 x 30 voxels", "96 x 80 pixels"):
        pairs_from_files(picture[0], tmp_path / "labels.nii.gz")
    with one_sentence(SupportError, "is a folder"):
        pairs_from_files(picture[0], tmp_path)
