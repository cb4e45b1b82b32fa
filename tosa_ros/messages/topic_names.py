"""What a topic's name says: whether its images are depth, and where their calibration is.

16-bit and float images are depth by their encoding, and so are thermal pictures, labels
and confidences. Names are read word by word: 'infra1' and 'IRCamera' say infrared, 'third' and
'mirror' do not.
"""

from __future__ import annotations

import re

from tosa_ros.messages.transports import image_topic

_WORDS = {
    *('ir', 'nir', 'swir', 'lwir', 'mwir', 'uv', 'seg', 'segm', 'mask', 'masks', 'disp', 'ids'),
    *('classes', 'heat', 'heatmap', 'flow', 'instances', 'signal'),
}
_BEGINNINGS = (
    *('amplitud', 'confiden', 'disparit', 'infra', 'intensit', 'label', 'nearir', 'normal'),
    *('panoptic', 'reflec', 'segment', 'semantic', 'therm', 'uncertain', 'varianc'),
)


def says_depth(topic: str) -> bool:
    """Whether a word of the name begins with 'depth'."""
    # Of the image itself: the transport compressedDepth carries more than depth.
    return any(word.startswith('depth') for word in _words(image_topic(topic)))


def says_other_than_depth(topic: str) -> str:
    """The first word that says that a topic's images are not depth; empty where there is none."""
    for word in _words(image_topic(topic)):
        if word in _WORDS or word.startswith(_BEGINNINGS):
            return word
    return ''


def camera_infos_beside(topic: str) -> tuple[str, str]:
    """Where an image's calibration may be: image_transport's place, and RealSense Viewer's.

    That is `<camera>/camera_info` of `<camera>/image_raw`, and `<stream>/info/camera_info` of
    `<stream>/image/data`.
    """
    beside = image_topic(topic).rpartition('/')[0]
    return f'{beside}/camera_info', f'{beside.rpartition("/")[0]}/info/camera_info'


def _words(topic: str) -> list[str]:
    """Runs of letters, cut where a capital begins a word; in lower case."""
    return [word.lower() for word in re.findall(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+', topic)]
