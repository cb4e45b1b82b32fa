"""Depth Anything's weights as its authors publish them: by name, what each is and where it lies.

The tensors of all versions have the same names and shapes, so that a file's name alone tells V1
from V2, and disparity from metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from tosa_ros.depth.estimators import DepthKind
from tosa_ros.errors import DepthError

SUFFIXES = ('.pth', '.pt')
_V1 = 'https://huggingface.co/spaces/LiheYoung/Depth-Anything/resolve/main/checkpoints/'
_V2 = 'https://huggingface.co/depth-anything/Depth-Anything-V2-{}/resolve/main/'
_INDOORS_M, _STREETS_M = 20, 80


@dataclass(frozen=True)
class Published:
    """A file of the authors.

    version: 1 or 2, which take different layers of the encoder.
    sha256: of the file, from Git LFS on Hugging Face.
    max_depth_m: the greatest depth of a metric model; None is disparity.
    """

    version: int
    place: str
    sha256: str
    max_depth_m: int | None = None

    @property
    def kind(self) -> DepthKind:
        return 'relative' if self.max_depth_m is None else 'metric'


def _metric(place: str, sha256: str, max_depth_m: int) -> Published:
    return Published(2, _V2.format(f'Metric-{place}'), sha256, max_depth_m)


PUBLISHED = {
    'depth_anything_vits14.pth': Published(
        1, _V1, '59afe57cfd9f4284deaf5b753d954723d7136ae842fba3e068ba03537ca1e60e'
    ),
    'depth_anything_vitb14.pth': Published(
        1, _V1, '64ae214ae4e27424b644c49464c0aa243016f6f753d95097c8eb9ad0b9cb2d9b'
    ),
    'depth_anything_vitl14.pth': Published(
        1, _V1, '6c6a383e33e51c5fdfbf31e7ebcda943973a9e6a1cbef1564afe58d7f2e8fe63'
    ),
    'depth_anything_v2_vits.pth': Published(
        2,
        _V2.format('Small'),
        '715fade13be8f229f8a70cc02066f656f2423a59effd0579197bbf57860e1378',
    ),
    'depth_anything_v2_vitb.pth': Published(
        2,
        _V2.format('Base'),
        '0d2b7002e62d39d655571c371333340bd88f67ab95050c03591555aa05645328',
    ),
    'depth_anything_v2_vitl.pth': Published(
        2,
        _V2.format('Large'),
        'a7ea19fa0ed99244e67b624c72b8580b7e9553043245905be58796a608eb9345',
    ),
    'depth_anything_v2_metric_hypersim_vits.pth': _metric(
        'Hypersim-Small',
        'b782898d8a3e8be1f639de33837ed85e9b4b73e40f8f5e5cd99067588d722545',
        _INDOORS_M,
    ),
    'depth_anything_v2_metric_hypersim_vitb.pth': _metric(
        'Hypersim-Base',
        '9dc9e274c5eff55c6daf27b660c0ced0eca4e8593a6da90cdcb04d2b4d3f3fa2',
        _INDOORS_M,
    ),
    'depth_anything_v2_metric_hypersim_vitl.pth': _metric(
        'Hypersim-Large',
        '6f82ff2bc543ac02ddff4aa31fa363676a8305dd3ccf04e80e2af115a044cb6d',
        _INDOORS_M,
    ),
    'depth_anything_v2_metric_vkitti_vits.pth': _metric(
        'VKITTI-Small',
        '9203e538d35255c90dda4b7fedb47ff33fe725497bcca3b1e53b3a65ee63f0cb',
        _STREETS_M,
    ),
    'depth_anything_v2_metric_vkitti_vitb.pth': _metric(
        'VKITTI-Base',
        '4dad67a7cc10b462bca48e6b8569c762b8eb3c1adada170a3851a6d3ba37bb3e',
        _STREETS_M,
    ),
    'depth_anything_v2_metric_vkitti_vitl.pth': _metric(
        'VKITTI-Large',
        '239b1054a369e66da2576e9a118d6d7c12d90dc8ebe609579a9a09cd8e05fe38',
        _STREETS_M,
    ),
}


def is_weights(path: str) -> bool:
    """Whether a model's path is a file of the authors' kind or a URL, and no folder."""
    return is_url(path) or (path.lower().endswith(SUFFIXES) and not Path(path).is_dir())


def is_url(path: str) -> bool:
    return '://' in path


def file_name(path: str) -> str:
    """The last part of a path or a URL."""
    return Path(urlparse(path).path if is_url(path) else path).name


def published(path: str) -> Published:
    """What the authors publish under this file's name.

    Raises:
        DepthError: a name of which it is unknown what its tensors give.
    """
    name = file_name(path)
    if name in PUBLISHED:
        return PUBLISHED[name]
    if name.startswith('depth_anything_metric_depth_'):
        raise DepthError(
            f'depth model {path!r}: the metric models of Depth Anything V1 are ZoeDepth on '
            'another encoder, which transformers cannot load; take '
            'depth_anything_v2_metric_hypersim_vits.pth (rooms) or '
            'depth_anything_v2_metric_vkitti_vits.pth (streets)'
        )
    raise DepthError(
        f'depth model {path!r}: the name must be the one that its authors gave it, because '
        'nothing else tells V1 from V2 and disparity from metres: '
        'depth_anything_vit{s,b,l}14.pth, depth_anything_v2_vit{s,b,l}.pth or '
        'depth_anything_v2_metric_{hypersim,vkitti}_vit{s,b,l}.pth'
    )
