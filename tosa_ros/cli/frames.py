"""Frames on the command line: image files with depth, or one folder, video or bag."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tosa_ros.cli import console
from tosa_ros.cli.options import add_depth_model_option
from tosa_ros.cli.parsing import UsageError, need, refuse
from tosa_ros.errors import FrameError

if TYPE_CHECKING:
    from tosa_ros.frames import Frame
    from tosa_ros.merging import MergingMethod
    from tosa_ros.sources import FrameSource
    from tosa_ros.sources.given import Part

FRAMES_OF_VIDEO = 12  # where it is not said how many


def add_frame_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('frames')
    group.add_argument('--rgb', action='append', metavar='FILE', help='colour image; repeatable')
    group.add_argument(
        '--depth',
        action='append',
        metavar='FILE',
        help='depth file (16-bit, or metres in floats), one for each image, in the same order',
    )
    group.add_argument(
        '--depth-scale',
        type=float,
        metavar='N',
        help="units per metre of the depth files, or of a bag's 16-bit depth",
    )
    group.add_argument(
        '--intrinsics', metavar='FX,FY,CX,CY', help='of the colour camera, in pixels'
    )
    group.add_argument(
        '--folder', metavar='DIR', help='folder of frames in one of the layouts, or of photos'
    )
    add_layout(group)
    add_rotate(group)
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        '--frames',
        type=int,
        metavar='N',
        help=f'N evenly spread frames of a folder (all), video or bag ({FRAMES_OF_VIDEO})',
    )
    either.add_argument('--times', metavar='S,S', help='frames of a video at these seconds')
    add_depth_model_option(group)


def add_layout(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        '--layout', metavar='NAME', help='layout of the folder (found by its files)'
    )


def add_rotate(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        '--rotate',
        type=int,
        default=0,
        choices=(0, 90, 180, 270),
        metavar='DEG',
        help='turn all frames clockwise by 90, 180 or 270 degrees, as of a camera on its side (0)',
    )


def frames_from(
    args: argparse.Namespace, paths: Sequence[str], methods: Iterable[MergingMethod]
) -> list[Frame]:
    """The frames that the options and the paths beside them name.

    methods: what the frames are for; one that wants depth is refused where there is none.

    Raises:
        UsageError: an option that would change nothing.
        FrameError: nothing is named, or it cannot be read.
    """
    from tosa_ros.evaluation.conditions import check_spatial
    from tosa_ros.frames import doubts_in_words

    images, place = _sorted(args, paths)
    change = change_from(args)
    frames = _images(args, images) if images else _of_place(args, place)
    frames = [change(frame) for frame in frames]
    if args.intrinsics and not any(frame.has_metric_points for frame in frames):
        raise UsageError('--intrinsics changes nothing: no frame has depth in metres')
    for method in methods:
        check_spatial(frames, method)
    for line in doubts_in_words(frames):
        console.note(line)
    return frames


def change_from(args: argparse.Namespace) -> Callable[[Frame], Frame]:
    """Turns a frame and estimates its depth, as the options say."""
    if not args.depth_model:
        return lambda frame: frame.turned(args.rotate)
    from tosa_ros.depth import load_estimator

    estimator = load_estimator(args.depth_model, device=args.device)
    if not estimator.needs_sensor:
        refuse(args, 'changes nothing with this --depth-model', '--depth', '--depth-scale')
    return lambda frame: estimator.replace_depth(frame.turned(args.rotate))


def each_from(
    args: argparse.Namespace, paths: Sequence[str], method: MergingMethod
) -> list[tuple[str, Part]]:
    """The frames that the options and the paths name, each by itself with its name.

    Images and folders are read when their turn comes; a video's and a bag's frames now.
    """
    from tosa_ros.evaluation.conditions import check_spatial
    from tosa_ros.sources import FrameFolder

    images, place = _sorted(args, paths)
    change = change_from(args)
    if images:
        if not (args.depth or args.depth_model):
            refuse(args, 'changes nothing: no image has depth', '--intrinsics')
        files = _files_of(args, images)
        return [(rgb, part_of(Path(rgb), rgb, change, **more)) for rgb, more in files]
    source = _source(args, place)
    if isinstance(source, FrameFolder):
        for line in source.notes:
            console.note(line)
        if source.missing_depth == len(source) and not args.depth_model:
            refuse(args, f'changes nothing: {place} has no depth files', '--intrinsics')
        wanted = _spread(len(source), args.frames or len(source))
        names = [f'{place}/{source.stems[i]}' for i in wanted]
        readers = [partial(source.__getitem__, i) for i in wanted]
        return [(name, _part(name, one, change)) for name, one in zip(names, readers, strict=True)]
    seen = [change(frame) for frame in _of_source(args, place, source)]
    check_spatial(seen, method)
    names = [f'{place}@{frame.stamp:.3f}' for frame in seen]
    return [
        (name, _part(name, lambda one=one: one)) for name, one in zip(names, seen, strict=True)
    ]


def part_of(path: Path, name: str, change: Callable[[Frame], Frame], **files: Any) -> Part:
    """A frame of files that is read when its turn comes. files: as `read_frame` takes them."""
    from tosa_ros.sources import read_frame

    return _part(name, partial(read_frame, path, **files), change, repr(files))


def _part(
    name: str,
    read: Callable[[], Frame],
    change: Callable[[Frame], Frame] = lambda frame: frame,
    key: str = '',
) -> Part:
    from tosa_ros.sources.given import Given, Part

    return Part((name, key), lambda: Given([change(read())], [name]))


def _sorted(args: argparse.Namespace, paths: Sequence[str]) -> tuple[list[str], Path | None]:
    """Image files, or one folder, video or bag."""
    from tosa_ros.sources.opening import VIDEO_SUFFIXES, is_bag_file

    places = [path for path in paths if Path(path).is_dir() or _kind(path) in VIDEO_SUFFIXES]
    places += [path for path in paths if is_bag_file(Path(path)) and path not in places]
    images = [*(args.rgb or []), *(path for path in paths if path not in places)]
    places += [args.folder] if args.folder else []
    if bool(images) == bool(places) or len(places) > 1:
        given = ', '.join([*images, *places]) or 'nothing'
        raise FrameError(
            f'frames: {given}; give either --rgb FILE or image files, or one folder, video or bag'
        )
    return images, Path(places[0]) if places else None


def _kind(path: str) -> str:
    return Path(path).suffix.lower()


def _images(args: argparse.Namespace, images: list[str]) -> list[Frame]:
    from tosa_ros.sources import read_frame

    return [read_frame(rgb, **files) for rgb, files in _files_of(args, images)]


def _files_of(args: argparse.Namespace, images: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """What `read_frame` takes beside each image."""
    why = 'goes with a folder, video or bag; image files are all used'
    refuse(args, why, '--frames', '--times')
    refuse(args, 'goes with a folder', '--layout')
    need(args, '--depth-scale', '--depth')
    depths: Sequence[str | None] = args.depth or [None] * len(images)
    if len(depths) != len(images):
        raise FrameError(
            f'--depth is given {len(depths)} times for {len(images)} colour images; '
            'give one for each, in the same order'
        )
    raw = [one for one in depths if one and _kind(one) not in ('.npy', '.exr', '.tif', '.tiff')]
    if raw and args.depth_scale is None:
        raise FrameError(
            '--depth needs --depth-scale: its units per metre, 1000 for millimetres, 5000 for TUM'
        )
    shared = {'depth_scale': args.depth_scale, 'intrinsics': args.intrinsics}
    return [(rgb, {'depth': depth, **shared}) for rgb, depth in zip(images, depths, strict=True)]


def _of_place(args: argparse.Namespace, place: Path) -> list[Frame]:
    return _of_source(args, place, _source(args, place))


def _source(args: argparse.Namespace, place: Path) -> FrameSource:
    """A folder, video or bag, whose options fit to it."""
    from tosa_ros.sources import VideoFrames

    refuse(args, 'goes with image files; a folder has its own depth files', '--depth')
    source = _opened(args, place)
    check_scale(args, source, place)
    if args.times and not isinstance(source, VideoFrames):
        raise UsageError(f'--times goes with a video, not {place}')
    if args.frames is not None and args.frames < 1:
        raise FrameError(f'--frames {args.frames}; wanted at least 1')
    return source


def _of_source(args: argparse.Namespace, place: Path, source: FrameSource) -> list[Frame]:
    from tosa_ros.sources import FrameFolder, VideoFrames

    if args.times and isinstance(source, VideoFrames):
        return source.nearest(_seconds(args.times))
    count = args.frames
    if count is None and not isinstance(source, FrameFolder):
        count = FRAMES_OF_VIDEO
        console.note(f'{place}: {min(count, len(source))} of {len(source)} frames (--frames N)')
    frames = source.pick(_spread(len(source), count or len(source)))
    for line in source.notes:
        console.note(line)
    if args.intrinsics and not isinstance(source, FrameFolder):
        frames = [_with_camera(frame, args.intrinsics) for frame in frames]
    return frames


def check_scale(args: argparse.Namespace, source: FrameSource, place: Path) -> None:
    """Refuses --depth-scale where a source has no depth that it would scale."""
    from tosa_ros.sources import FrameFolder
    from tosa_ros.sources.bags import BagFrames

    known = isinstance(source, FrameFolder | BagFrames)
    if not known or source.missing_depth == len(source):
        refuse(args, f'changes nothing: {place} has no depth files', '--depth-scale')
    if isinstance(source, BagFrames) and source.depth_is_metric:
        refuse(args, f'changes nothing: {source.topics.depth} is in metres', '--depth-scale')


def _opened(args: argparse.Namespace, place: Path) -> FrameSource:
    """What a path is: frames of a folder, with the given camera; of a video or bag."""
    from tosa_ros.sources import FrameFolder, open_source
    from tosa_ros.sources.layouts import is_of_photos

    if not place.exists():
        raise FrameError(f'{place}: no such folder of frames, video or bag')
    layout = args.layout
    if layout is None and place.is_dir() and is_of_photos(place):
        layout = 'photos'
    source = open_source(place, args.depth_scale, layout, args.intrinsics)
    if not isinstance(source, FrameFolder):
        refuse(args, f'goes with a folder of frames, not {place}', '--layout')
    return source


def _spread(count: int, wanted: int) -> list[int]:
    """Evenly spread indices, ends included; each frame once where there are fewer."""
    steps = max(min(count, wanted) - 1, 1)
    return [round(i * (count - 1) / steps) for i in range(min(count, wanted))]


def _seconds(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(',')]
    except ValueError as error:
        raise UsageError(f'--times {text}; wanted seconds, as 1.5,4') from error


def _with_camera(frame: Frame, text: str) -> Frame:
    from tosa_ros.sources import parse_intrinsics

    return replace(frame, intrinsics=parse_intrinsics(text, frame.width, frame.height))
