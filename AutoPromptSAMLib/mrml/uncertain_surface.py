"""The surface of a segment in 3D, coloured by how unsure the model is around it."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk

from AutoPromptSAMLib.mrml.segment_list import display_of, segment_of

# On the border itself the model is always undecided: what differs is how wide the undecided band is.
SIGMA_MM = 4.0  # of the Gaussian that the uncertainty is averaged with: a choice
MOST_BITS = 0.5  # average at which the colours end: a choice
SCALARS = "Uncertainty (bits)"


class UncertainSurface:
    """A model node in place of the surface of one segment; it is not saved with the scene."""

    def __init__(self, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
        self.segmentation_node = segmentation_node
        self.node: Any = None
        self._segment_id: str | None = None  # whose own surface is hidden

    def show(self, segment_id: str, volume_node: Any, color_node_id: str) -> None:
        """Colour the surface of a segment by the values (bits) of a volume node under the same transform.

        Nothing is shown for a segment that has no surface.
        """
        surface = vtk.vtkPolyData()
        segmentation = self.segmentation_node
        if not segmentation.GetClosedSurfaceRepresentation(segment_id, surface) or not surface.GetNumberOfPoints():
            self.hide()
            return
        surface.GetPointData().SetScalars(_sampled(surface, volume_node))
        if self._segment_id != segment_id:
            self.hide()
        if self.node is None or self.node.GetScene() is None:
            self.node = segmentation.GetScene().AddNewNodeByClass("vtkMRMLModelNode", "Uncertainty on the surface")
            self.node.CreateDefaultDisplayNodes()
            for part in (self.node, self.node.GetDisplayNode()):
                part.SetSaveWithScene(False)
        self.node.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
        self.node.SetAndObservePolyData(surface)
        display = self.node.GetDisplayNode()
        display.SetVisibility2D(False)
        display.SetAndObserveColorNodeID(color_node_id)
        display.SetActiveScalar(SCALARS, vtk.vtkAssignAttribute.POINT_DATA)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(0, MOST_BITS)
        display.SetScalarVisibility(True)
        display_of(segmentation).SetSegmentVisibility3D(segment_id, False)
        self._segment_id = segment_id

    def hide(self) -> None:
        """Show the segment's own surface again."""
        if self.node is not None and self.node.GetScene() is not None:
            self.node.GetScene().RemoveNode(self.node)
        self.node = None
        segmentation, segment_id, self._segment_id = self.segmentation_node, self._segment_id, None
        if segment_id is not None and segmentation.GetScene() is not None and segment_of(segmentation, segment_id):
            display_of(segmentation).SetSegmentVisibility3D(segment_id, True)


def _sampled(surface: Any, volume_node: Any) -> Any:
    """The averaged values of a volume node at the points of a surface in the node's coordinates; 0 beside it."""
    smooth = vtk.vtkImageGaussianSmooth()
    smooth.SetInputData(volume_node.GetImageData())
    smooth.SetStandardDeviations(*(SIGMA_MM / np.array(volume_node.GetSpacing())))
    to_ijk = vtk.vtkMatrix4x4()
    volume_node.GetRASToIJKMatrix(to_ijk)
    transform = vtk.vtkTransform()
    transform.SetMatrix(to_ijk)
    in_voxels = vtk.vtkTransformPolyDataFilter()
    in_voxels.SetTransform(transform)
    in_voxels.SetInputData(surface)
    probe = vtk.vtkProbeFilter()
    probe.SetInputConnection(in_voxels.GetOutputPort())
    probe.SetSourceConnection(smooth.GetOutputPort())
    probe.Update()
    values = probe.GetOutput().GetPointData().GetScalars()
    values.SetName(SCALARS)
    return values
