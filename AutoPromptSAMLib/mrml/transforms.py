"""Matrices between numpy and VTK, and what a node's parent transforms do to it."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import ArrayLike

from AutoPromptSAMLib.errors import GeometryError
from AutoPromptSAMLib.geometry.grid import FloatArray


def array_from_matrix(matrix: vtk.vtkMatrix4x4) -> FloatArray:
    """A vtkMatrix4x4 as array (4, 4)."""
    return np.array([[matrix.GetElement(row, col) for col in range(4)] for row in range(4)])


def matrix_from_array(array: ArrayLike) -> vtk.vtkMatrix4x4:
    """An array (4, 4) as vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def node_to_world(node: slicer.vtkMRMLTransformableNode) -> FloatArray:
    """What a node's chain of parent transforms does: 4x4, the node's coordinates -> RAS mm of the world.

    Raises GeometryError when the chain is not linear: a bent grid has no affine.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise GeometryError(
            f'"{node.GetName()}" is under the non-linear transform "{parent.GetName()}"; harden the transform or move '
            f'"{node.GetName()}" out of it first.'
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return array_from_matrix(matrix)
