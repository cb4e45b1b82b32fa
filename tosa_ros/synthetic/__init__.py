"""The tiny world: rooms rendered as RGB-D, with questions that have exactly one right answer.

Above `frames`, below `training`, `evaluation` and `cli`. Needs Open3D (extra `pointcloud`).
"""

from tosa_ros.synthetic.asking import THRESHOLDS, Question, Thresholds
from tosa_ros.synthetic.episodes import Episode, episode
from tosa_ros.synthetic.meshes import SHAPES
from tosa_ros.synthetic.objects import COLOURS, SceneObject
from tosa_ros.synthetic.phrases import EPISODE_QUESTION_TYPES, QUESTION_TYPES
from tosa_ros.synthetic.rooms import FLOORS, SPLITS
from tosa_ros.synthetic.sensor import SensorModel
from tosa_ros.synthetic.views import Sample, single

__all__ = [
    'COLOURS',
    'EPISODE_QUESTION_TYPES',
    'FLOORS',
    'QUESTION_TYPES',
    'SHAPES',
    'SPLITS',
    'THRESHOLDS',
    'Episode',
    'Question',
    'Sample',
    'SceneObject',
    'SensorModel',
    'Thresholds',
    'episode',
    'single',
]
