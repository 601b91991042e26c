"""Segments on disk, for Slicer and for everybody else."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError, ImageError, StorageError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.images import load_labels, load_segmentation, save_segmentation

GEOMETRIES = st.from_type(VolumeGeometry)
CT = VolumeGeometry((5, 8, 10), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
PER_EXAMPLE = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_array(geometry: VolumeGeometry, dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, geometry.shape).astype(dtype)


liver = np.zeros(CT.shape, bool)
liver[1:4, 2:6, 3:8] = True
spleen = np.zeros(CT.shape, bool)
spleen[2:5, 6:8, 0:9] = True
overlap = np.zeros(CT.shape, bool)
overlap[3, 4:7, 4:6] = True
nothing = np.zeros(CT.shape, bool)
SEGMENTS = {"liver": liver, "Milz \\n größer": spleen, "overlap": overlap, "nothing": nothing}


@given(geometry=GEOMETRIES, seed=st.integers(0, 2**32 - 1), overlapping=st.booleans())
@PER_EXAMPLE
def test_seg_nrrd_round_trip(tmp_path: Path, geometry: VolumeGeometry, seed: int, overlapping: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, geometry.shape)
    masks = {f"organ {n}": labels == n for n in (1, 2, 3)}
    if overlapping:
        masks["tumour: \\n größer\nals"] = rng.random(geometry.shape) < 0.5
    given_masks = {name: Crop.from_full(mask) if rng.random() < 0.5 else mask for name, mask in masks.items()}
    save_segmentation(tmp_path / "s.seg.nrrd", given_masks, geometry)
    read, where = load_segmentation(tmp_path / "s.seg.nrrd")
    assert where.close_to(geometry, tolerance=1e-6)
    assert list(read) == list(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(read[name], mask)
    assert [p.name for p in tmp_path.iterdir()] == ["s.seg.nrrd"]


@given(geometry=GEOMETRIES, suffix=st.sampled_from([".nii.gz", ".nii"]))
@PER_EXAMPLE
def test_nifti_round_trip(tmp_path: Path, geometry: VolumeGeometry, suffix: str) -> None:
    assume(np.prod(geometry.shape) > 1)
    labels = random_array(geometry) % 3
    labels.flat[:2] = (1, 2)
    path = tmp_path / f"s{suffix}"
    save_segmentation(path, {"liver": labels == 1, "spleen": labels == 2}, geometry)
    np.testing.assert_array_equal(load_labels(path, geometry), labels)
    read, where = load_segmentation(path)
    assert list(read) == ["Segment_1", "Segment_2"]
    np.testing.assert_array_equal(read["Segment_2"], labels == 2)
    assert where.close_to(geometry)


def slicer_segmentation(path: Path, node: bool = False):
    """What Slicer's own core reads from the file: (name, color, mask (k, j, i), ijk to RAS, id) for each segment."""
    slicer = pytest.importorskip("slicer")
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    segmentation_node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(segmentation_node)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(segmentation_node) == 1
    segmentation = segmentation_node.GetSegmentation()
    found = {}
    for number in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(number)
        image = segment.GetRepresentation("Binary labelmap")
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        extent = image.GetExtent()
        shape = (extent[5] - extent[4] + 1, extent[3] - extent[2] + 1, extent[1] - extent[0] + 1)
        mask = np.zeros(shape, bool)
        if min(shape) > 0:
            labels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
            mask = labels == segment.GetLabelValue()
        affine = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
        found[segment.GetName()] = (segment.GetColor(), mask, (extent[4], extent[2], extent[0]), affine)
    return found


@pytest.mark.parametrize("count", [2, 4])
def test_slicer_reads_what_we_write(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(5)
    directions, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions * (0.7, 0.8, 2.5), (10, -20, 30)
    geometry = VolumeGeometry(CT.shape, affine)
    masks = dict(list(SEGMENTS.items())[:count])
    save_segmentation(tmp_path / "s.seg.nrrd", masks, geometry, {"liver": (0.8, 0.4, 0.2)})
    found = slicer_segmentation(tmp_path / "s.seg.nrrd")
    assert list(found) == list(masks)
    assert found["liver"][0] == pytest.approx((0.8, 0.4, 0.2))
    assert len({color for color, *_ in found.values()}) == count
    for name, (_, mask, lower, ijk_to_ras) in found.items():
        np.testing.assert_allclose(ijk_to_ras, geometry.ijk_to_ras, atol=1e-9)
        if masks[name].any():
            np.testing.assert_array_equal(Crop(mask, lower).to_full(CT.shape), masks[name])
        else:
            assert not mask.any()


def test_we_read_what_slicer_writes(tmp_path: Path) -> None:
    slicer = pytest.importorskip("slicer")
    masks = {"liver": liver, "spleen": spleen, "overlap": overlap}
    save_segmentation(tmp_path / "ours.seg.nrrd", masks, CT)
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(tmp_path / "ours.seg.nrrd"))
    assert storage.ReadData(node) == 1
    storage.SetFileName(str(tmp_path / "theirs.seg.nrrd"))
    assert storage.WriteData(node) == 1
    read, geometry = load_segmentation(tmp_path / "theirs.seg.nrrd")
    assert list(read) == list(masks)
    for name, mask in read.items():  # Slicer may crop: compare the voxels' positions
        ours = {tuple(p) for p in CT.ras_from_ijk(np.argwhere(masks[name])[:, ::-1]).round(3)}
        theirs = {tuple(p) for p in geometry.ras_from_ijk(np.argwhere(mask)[:, ::-1]).round(3)}
        assert theirs == ours


def test_header_fields(tmp_path: Path) -> None:
    save_segmentation(tmp_path / "s.seg.nrrd", {"liver": liver, "overlap": overlap}, CT, {"liver": (1, 0.5, 0)})
    header = (tmp_path / "s.seg.nrrd").read_bytes().split(b"\n\n")[0].decode()
    for line in (
        "space: left-posterior-superior",
        "sizes: 2 10 8 5",
        "kinds: list domain domain domain",
        "space directions: none (0.7,0.0,0.0) (0.0,0.7,0.0) (0.0,0.0,2.5)",
        "space origin: (-90.0,-80.0,-300.0)",
        "Segment0_ID:=Segment_1",
        "Segment0_Name:=liver",
        "Segment0_Color:=1 0.5 0",
        "Segment0_Extent:=3 7 2 5 1 3",
        "Segment0_LabelValue:=1",
        "Segment0_Layer:=0",
        "Segment1_LabelValue:=2",
        "Segment1_Layer:=1",
        "Segmentation_ContainedRepresentationNames:=Binary labelmap|",
        "Segmentation_MasterRepresentation:=Binary labelmap",
    ):
        assert line.replace("-0.0", "0.0") in header.replace("-0.0,", "0.0,").replace("-0.0)", "0.0)").split("\n")
    assert re.search(r"Segment0_Tags:=TerminologyEntry:Segmentation category and type", header)


@pytest.mark.parametrize(
    ("name", "segments", "error", "sentence"),
    [
        (
            "s.seg.nrrd",
            {"liver": liver[1:]},
            GeometryError,
            r'"liver" has \(4, 8, 10\) voxels but its image \(5, 8, 10\)',
        ),
        ("s.seg.nrrd", {"liver": Crop(np.ones((2, 2, 2), bool), (4, 0, 0))}, GeometryError, "reaches voxel"),
        ("s.seg.nrrd", {"": liver}, ImageError, "empty name"),
        ("s.nii.gz", {"liver": liver, "tumour": overlap}, ImageError, '"tumour" overlaps .* save as .seg.nrrd'),
        ("s.stl", {"liver": liver}, StorageError, r"save segments as \.seg\.nrrd or \.nii\.gz"),
        ("none/s.seg.nrrd", {"liver": liver}, StorageError, "No such file or directory"),
        ("none/s.nii.gz", {"liver": liver}, StorageError, "No such file or directory"),
    ],
)
def test_impossible_segmentations_are_refused(
    tmp_path: Path, name: str, segments, error: type[AutoPromptSAMError], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as caught:
        save_segmentation(tmp_path / name, segments, CT)
    assert str(caught.value).endswith(".")
    assert not list(tmp_path.iterdir())


def test_axes_that_nifti_would_square_go_to_seg_nrrd(tmp_path: Path) -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1])
    affine[0, 1] = 0.0006  # 0.05 degrees: a fifth of a voxel at the far edge
    geometry = VolumeGeometry((2, 512, 512), affine)
    mask = np.ones(geometry.shape, bool)
    with pytest.raises(GeometryError, match=r"slightly sheared axes; save as \.seg\.nrrd instead"):
        save_segmentation(tmp_path / "s.nii.gz", {"liver": mask}, geometry)
    assert not list(tmp_path.iterdir())
    save_segmentation(tmp_path / "s.seg.nrrd", {"liver": mask}, geometry)
    assert load_segmentation(tmp_path / "s.seg.nrrd")[1].close_to(geometry, tolerance=1e-6)


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nii.gz"])
@pytest.mark.parametrize("value", [7, 300, 100_000, 5_000_000_000, -3])
def test_label_values_are_kept(tmp_path: Path, suffix: str, value: int) -> None:
    path = tmp_path / f"s{suffix}"
    save_segmentation(path, {"liver": liver, "spleen": spleen}, CT, label_values={"liver": value, "spleen": 5})
    read, _ = load_segmentation(path)
    assert sorted(read.label_values.values()) == sorted([value, 5])
    for name, mask in (("liver", liver), ("spleen", spleen)):
        written = name if suffix == ".seg.nrrd" else f"Segment_{value if name == 'liver' else 5}"
        np.testing.assert_array_equal(read[written], mask)


def test_label_values_that_would_mix_segments_are_counted_anew(tmp_path: Path) -> None:
    for values in ({"liver": 2, "overlap": 2}, {"liver": 1 << 70, "overlap": 2}, {"liver": 4}, {"liver": 0}):
        save_segmentation(tmp_path / "s.seg.nrrd", {"liver": liver, "overlap": overlap}, CT, label_values=values)
        assert load_segmentation(tmp_path / "s.seg.nrrd")[0].label_values == {"liver": 1, "overlap": 2}


def test_no_segment_of_equal_names_gets_lost(tmp_path: Path) -> None:
    path, left = tmp_path / "three.seg.nrrd", np.zeros_like(liver)
    left[0, 0, 0] = True
    save_segmentation(path, {"liver (2)": liver, "first": left, "second": liver & ~left}, CT)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"Name:=first", b"Name:=liver").replace(b"Name:=second", b"Name:=liver"))
    masks, _ = load_segmentation(path)
    assert list(masks) == ["liver (2)", "liver", "liver (3)"]
    np.testing.assert_array_equal(masks["liver (3)"], liver & ~left)


def test_colours_and_terms_come_back_where_the_file_has_them(tmp_path: Path) -> None:
    path, term = tmp_path / "s.seg.nrrd", "list~SCT^1^Organ~SCT^2^Liver~^^~list~^^~^^"
    save_segmentation(path, SEGMENTS, CT, {"liver": (1, 0.5, 0)}, {"liver": term})
    content = path.read_bytes()
    content = re.sub(rb"Segment1_Color:=[^\n]*", b"Segment1_Color:=red", content)
    path.write_bytes(re.sub(rb"Segment1_Tags:=[^\n]*", b"Segment1_Tags:=Other:1|", content))
    read, _ = load_segmentation(path)
    assert list(read.colors["liver"]) == [1, 0.5, 0]
    assert read.terms["liver"] == term
    assert set(read.colors) == set(read.terms) == set(SEGMENTS) - {list(SEGMENTS)[1]}


def test_masks_of_many_segments_are_not_all_in_memory(tmp_path: Path) -> None:
    count = 60
    labels = np.zeros((count + 1, 128, 128), np.uint8)
    labels[:, :2] = np.arange(count + 1)[:, None, None]
    sitk.WriteImage(sitk.GetImageFromArray(labels), str(tmp_path / "body.nii.gz"))
    tracemalloc.start()
    read, _ = load_segmentation(tmp_path / "body.nii.gz")
    crops = {name: read.crop(name) for name in read}
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(crops) == count
    assert crops["Segment_3"].mask.shape == (1, 2, 128)
    assert held < 3 * labels.nbytes
    assert peak < 15 * labels.nbytes  # not a mask for each


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Segment0_LabelValue:=one", r"damaged segmentation header at Segment0_"),
        ("Segment0_Layer:=4", "damaged"),
        ("Segment0_Layer:=-1", "damaged"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "s.seg.nrrd"
    save_segmentation(path, {"liver": liver}, CT)
    key = text.split(":=")[0].encode()
    path.write_bytes(re.sub(key + b":=[^\n]*", text.encode(), path.read_bytes()))
    with pytest.raises(ImageError, match=sentence):
        load_segmentation(path)


def test_an_image_is_not_taken_for_a_label_map_of_thousands(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(1000, dtype=np.int16).reshape(10, 10, 10)), str(path))
    with pytest.raises(ImageError, match=r"has 1000 different values, as images have; give a label map"):
        load_segmentation(path)


def test_images_are_no_segmentations(tmp_path: Path, itk_image) -> None:
    sitk.WriteImage(itk_image(random_array(CT, "float32") + 0.5, CT), str(tmp_path / "ct.nrrd"))
    with pytest.raises(ImageError, match="not whole numbers"):
        load_segmentation(tmp_path / "ct.nrrd")


NOISE = np.random.default_rng(6).random((40, 64, 64)) < 0.5  # 20 KiB of entropy packed, 160 KiB as bytes
NOISE_GEOMETRY = VolumeGeometry(NOISE.shape, np.eye(4))


@pytest.mark.parametrize("name", ["s.seg.nrrd", "s.nii.gz", "s.nii"])
def test_a_full_disk_leaves_the_old_file(tiny_disk: Path, name: str) -> None:
    path = tiny_disk / name
    save_segmentation(path, {"liver": liver}, CT)
    before = path.read_bytes()
    (tiny_disk / "ballast").write_bytes(bytes(44 * 1024))
    with pytest.raises(
        StorageError, match=r"could not be written because the disk is full; free some space"
    ) as caught:
        save_segmentation(path, {"noise": NOISE}, NOISE_GEOMETRY)
    assert str(caught.value).startswith(str(path))
    assert path.read_bytes() == before
    assert sorted(p.name for p in tiny_disk.iterdir()) == ["ballast", name]


@pytest.mark.parametrize("name", ["s.seg.nrrd", "s.nii.gz", "s.nii"])
def test_a_file_size_limit_leaves_the_old_file(tmp_path: Path, run_with_file_limit, name: str) -> None:
    path = tmp_path / name
    save_segmentation(path, {"liver": liver}, CT)
    before = path.read_bytes()
    program = f"""
import numpy as np
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import save_segmentation
mask = np.random.default_rng(6).random((40, 64, 64)) < 0.5
try:
    save_segmentation({str(path)!r}, {{"noise": mask}}, VolumeGeometry(mask.shape, np.eye(4)))
except StorageError as error:
    print(error)
"""
    message = f"{path} could not be written because the disk is full; free some space and save again."
    assert run_with_file_limit(program, 8192) == message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
