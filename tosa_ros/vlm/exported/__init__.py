"""A vision encoder as one file that runs without this package: torch.export, AOTInductor, ONNX,
OpenVINO.

`writing` makes it of a loaded encoder, `running` runs it in place of one. The file says in `facts`
what it is.
"""

from tosa_ros.vlm.exported.facts import FORMATS, SUFFIXES, Facts
from tosa_ros.vlm.exported.graph import DEPTHS
from tosa_ros.vlm.exported.running import ExportedTower
from tosa_ros.vlm.exported.writing import export_tower

__all__ = ['DEPTHS', 'FORMATS', 'SUFFIXES', 'ExportedTower', 'Facts', 'export_tower']
