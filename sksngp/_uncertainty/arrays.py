"""Types of formulas for arrays and for tensors.

Predictions evaluate the formulas with NumPy. Exported models consist of the same
formulas in TensorFlow. The functions therefore have a parameter `xp`, the namespace of
the operations: NumPy, or `sksngp._tensorflow.array_namespace`.
"""

from __future__ import annotations

from typing import Any, TypeAlias

#: An ndarray or a tensor.
Array: TypeAlias = Any
#: A module of operations.
Namespace: TypeAlias = Any
