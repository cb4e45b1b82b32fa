"""ROS messages <-> numpy: images, compressed images and depth, camera_info, poses, stamps.

Reading is duck-typed on the ROS field names, so that rclpy messages and the dataclasses of
`rosbags` (ROS 2 and ROS 1) both work; only the functions that build messages import ROS.
"""

from __future__ import annotations

import io
import struct
from array import array
from typing import Any, NamedTuple

import numpy as np

from tosa_ros.errors import RosError
from tosa_ros.frames import Intrinsics

# encoding: (dtype, channels); OpenCV's type names hold colour in OpenCV's order, BGR.
ENCODINGS = {
    'rgb8': (np.uint8, 3),
    'bgr8': (np.uint8, 3),
    '8UC3': (np.uint8, 3),
    'rgba8': (np.uint8, 4),
    'bgra8': (np.uint8, 4),
    '8UC4': (np.uint8, 4),
    'rgb16': (np.uint16, 3),
    'bgr16': (np.uint16, 3),
    'mono8': (np.uint8, 1),
    '8UC1': (np.uint8, 1),
    'mono16': (np.uint16, 1),
    '16UC1': (np.uint16, 1),
    '32FC1': (np.float32, 1),
    'uyvy': (np.uint8, 2),
    'yuv422': (np.uint8, 2),
    'yuyv': (np.uint8, 2),
    'yuv422_yuy2': (np.uint8, 2),
}
DEPTH_ENCODINGS = ('16UC1', 'mono16', '32FC1')
_BGR = {'bgr8', 'bgra8', 'bgr16', '8UC3', '8UC4'}
_COMPRESSED_DEPTH_HEADER = struct.Struct('<iff')


class Camera(NamedTuple):
    """What a camera_info says: the intrinsics, or None; and why not, or what to know of them."""

    intrinsics: Intrinsics | None
    note: str


def stamp_s(stamp: Any) -> float:
    """Seconds of a builtin_interfaces/Time (ROS 2) or a time of a ROS 1 bag."""
    return float(stamp.sec) + 1e-9 * stamp.nanosec


def stamp_ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time; exact, so fit to match messages by."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def rgb_from_message(message: Any) -> np.ndarray:
    """Colour (H, W, 3) uint8 of a sensor_msgs Image or CompressedImage.

    Raises:
        RosError: an encoding that holds no colour, or data that do not fit the header.
    """
    if not hasattr(message, 'encoding'):
        return _rgb_from_compressed(message)
    encoding = message.encoding
    if encoding == '32FC1' or encoding == '16UC1':
        raise RosError(
            f'image: encoding {encoding} is depth, not colour; is a depth topic remapped to image?'
        )
    pixels = pixels_from_message(message)
    if pixels.shape[-1] == 2 and pixels.ndim == 3:
        return _rgb_from_yuv422(pixels, luma_first=encoding in ('yuyv', 'yuv422_yuy2'))
    return _rgb_from_pixels(pixels, encoding)


def _rgb_from_pixels(pixels: np.ndarray, encoding: str) -> np.ndarray:
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    channels = [2, 1, 0] if encoding in _BGR else [0, 1, 2]
    return np.ascontiguousarray(pixels[..., channels] if encoding != 'rgb8' else pixels)


def depth_from_message(message: Any) -> np.ndarray:
    """Depth (H, W) as its sensor wrote it, from an Image or a `compressedDepth` CompressedImage.

    Returns:
        uint16 (REP-118: millimetres, 0 invalid) or float32 (metres; NaN and infinities as
        REP-117 has them). `tosa_ros.depth.SensorDepth` makes metres of either.

    Raises:
        RosError: an encoding that holds no depth, or data that do not fit the header.
    """
    if not hasattr(message, 'encoding'):
        return _depth_from_compressed(message)
    if message.encoding not in DEPTH_ENCODINGS:
        raise RosError(
            f'depth: encoding {_short(message.encoding)} is not depth; wanted one of '
            f'{", ".join(DEPTH_ENCODINGS)}'
        )
    return pixels_from_message(message)


def pixels_from_message(message: Any) -> np.ndarray:
    """The pixels of an Image as encoded: (H, W) or (H, W, C), native byte order.

    Rows may be padded (`step`) and words big-endian; the array shares the message's memory
    where it can.
    """
    encoding, width, height, step = message.encoding, message.width, message.height, message.step
    if encoding not in ENCODINGS:
        raise RosError(
            f'image: encoding {_short(encoding)} is not supported; wanted one of '
            f'{", ".join(ENCODINGS)} (image_proc turns Bayer into rgb8)'
        )
    dtype, channels = np.dtype(ENCODINGS[encoding][0]), ENCODINGS[encoding][1]
    if width < 1 or height < 1:
        raise RosError(f'image: size is {width}x{height}; wanted at least 1x1 pixel')
    row = width * channels * dtype.itemsize
    if step < row:
        raise RosError(
            f'image: step is {step} bytes, but a row of {width} {encoding} pixels has {row}'
        )
    data = np.frombuffer(message.data, np.uint8)
    wanted = step * (height - 1) + row
    if data.size < wanted:
        raise RosError(
            f'image: {data.size} bytes of data, but {width}x{height} {encoding} with step {step} '
            f'needs {wanted}; the image is cut off'
        )
    if data.size < step * height:
        data = np.concatenate([data[:wanted], np.zeros(step * height - wanted, np.uint8)])
    rows = data[: step * height].reshape(height, step)[:, :row]
    words = np.ascontiguousarray(rows).view(
        dtype.newbyteorder('>' if message.is_bigendian else '<')
    )
    shape = (height, width) if channels == 1 else (height, width, channels)
    return words.reshape(shape).astype(dtype, copy=False)


def camera_from_info(message: Any, rectified: bool = False) -> Camera:
    """The pinhole camera of a sensor_msgs/CameraInfo, for the image as it is published.

    K is for raw images, P for rectified ones (REP-104); both are of the full sensor, so that
    `roi` and `binning` are applied here.
    """
    k = np.asarray(_field(message, 'k'), np.float64).reshape(-1)
    p = np.asarray(_field(message, 'p'), np.float64).reshape(-1)
    distorted = bool(np.any(np.asarray(_field(message, 'd'), np.float64)))
    fx, fy, cx, cy = (p[0], p[5], p[2], p[6]) if rectified else (k[0], k[4], k[2], k[5])
    if rectified and fx == 0 and not distorted:
        fx, fy, cx, cy = k[0], k[4], k[2], k[5]
    name = 'P' if rectified else 'K'
    if not np.isfinite([fx, fy, cx, cy]).all() or fx <= 0 or fy <= 0:
        return Camera(
            None,
            f'camera_info: the focal length in {name} is {fx:g}, {fy:g}: the camera is not '
            'calibrated, so there are no metric points; calibrate it',
        )
    if message.width < 1 or message.height < 1:
        return Camera(
            None,
            f'camera_info: image size is {message.width}x{message.height}, so there are no '
            'metric points; its driver should fill in the size',
        )
    roi = message.roi
    width, height = roi.width or message.width, roi.height or message.height
    full = Intrinsics(fx, fy, cx - roi.x_offset, cy - roi.y_offset, int(width), int(height))
    bin_x, bin_y = max(1, message.binning_x), max(1, message.binning_y)
    camera = full.scaled(max(1, int(width) // bin_x), max(1, int(height) // bin_y))
    note = ''
    if distorted and not rectified:
        note = (
            'camera_info: the lens distortion D is not undone in a raw image, so that points near '
            'its border are off; subscribe to the rectified image for exact ones'
        )
    return Camera(camera, note)


def pose_from_message(message: Any) -> np.ndarray:
    """The (4, 4) float64 matrix of a Pose or Transform, stamped or not, or an Odometry.

    It maps points of the child (or body) frame to the header's frame.

    Raises:
        RosError: a quaternion of length zero, or a number that is not finite.
    """
    while not hasattr(message, 'orientation') and not hasattr(message, 'rotation'):
        inner = getattr(message, 'pose', None) or getattr(message, 'transform', None)
        if inner is None:
            raise RosError(f'pose: {type(message).__name__} holds neither a pose nor a transform')
        message = inner
    transform = hasattr(message, 'rotation')
    q = message.rotation if transform else message.orientation
    t = message.translation if transform else message.position
    x, y, z, w = quaternion = np.array([q.x, q.y, q.z, q.w], np.float64)
    translation = np.array([t.x, t.y, t.z], np.float64)
    norm = float(np.linalg.norm(quaternion))
    if not np.isfinite(translation).all() or not np.isfinite(norm) or norm < 1e-6:
        raise RosError(
            f'pose: translation {translation.tolist()}, quaternion {quaternion.tolist()}; wanted '
            'finite numbers and a quaternion of length 1'
        )
    x, y, z, w = quaternion / norm
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, 3] = translation
    return matrix


def image_message(pixels: np.ndarray, encoding: str, header: Any) -> Any:
    """A sensor_msgs/Image of (H, W) or (H, W, C) pixels that `encoding` names; header as given."""
    from sensor_msgs.msg import Image

    dtype, channels = ENCODINGS[encoding]
    if pixels.dtype != dtype or (pixels.shape[2] if pixels.ndim == 3 else 1) != channels:
        raise RosError(
            f'image: shape {pixels.shape}, dtype {pixels.dtype} is not {encoding}; wanted '
            f'{channels} channels of {np.dtype(dtype)}'
        )
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = width * channels * pixels.dtype.itemsize
    message.data = byte_array(pixels)
    return message


def compressed_image_message(rgb: np.ndarray, header: Any, image_format: str = 'jpeg') -> Any:
    """A sensor_msgs/CompressedImage (jpeg or png) of rgb (H, W, 3) uint8."""
    from PIL import Image as PilImage
    from sensor_msgs.msg import CompressedImage

    stream = io.BytesIO()
    PilImage.fromarray(rgb).save(stream, image_format.upper())
    message = CompressedImage(header=header, format=image_format)
    message.data = array('B', stream.getvalue())
    return message


def camera_info_message(intrinsics: Intrinsics, header: Any) -> Any:
    """A sensor_msgs/CameraInfo of a pinhole camera without distortion."""
    from sensor_msgs.msg import CameraInfo

    k = intrinsics.matrix()
    message = CameraInfo(header=header, height=intrinsics.height, width=intrinsics.width)
    message.distortion_model = 'plumb_bob'
    message.d = [0.0] * 5
    message.k = k.reshape(-1)
    message.r = np.eye(3).reshape(-1)
    message.p = np.hstack([k, np.zeros((3, 1))]).reshape(-1)
    return message


def stamp_message(seconds: float) -> Any:
    """A builtin_interfaces/Time of seconds, to the nanosecond that a float holds."""
    from builtin_interfaces.msg import Time

    whole, nanosec = divmod(round(seconds * 1e9), 1_000_000_000)
    return Time(sec=whole, nanosec=nanosec)


def byte_array(pixels: np.ndarray) -> array:
    """The bytes of an array as `array('B')`: what rclpy's setters take as it is, fast."""
    data = array('B')
    data.frombytes(np.ascontiguousarray(pixels).data.cast('B'))
    return data


def _rgb_from_compressed(message: Any) -> np.ndarray:
    if 'compressedDepth' in message.format:
        raise RosError(f'image: format {_short(message.format)} is depth, not colour')
    picture = _decoded(message.data, f'image: format {_short(message.format)}')
    if picture.mode.startswith('I'):  # 16-bit grey, which convert() would clip to white.
        return _rgb_from_pixels(np.asarray(picture).astype(np.uint16), 'mono16')
    rgb = np.asarray(picture.convert('RGB'))
    # Some publishers hand RGB to an encoder that wants BGR, and say so after 'compressed'.
    swapped = message.format.rstrip().endswith('compressed rgb8')
    return np.ascontiguousarray(rgb[..., ::-1]) if swapped else rgb


def _depth_from_compressed(message: Any) -> np.ndarray:
    data = bytes(memoryview(message.data))
    encoding = message.format.split(';')[0].strip()
    what = f'depth: format {_short(message.format)}'
    if 'compressedDepth' not in message.format or encoding not in DEPTH_ENCODINGS:
        raise RosError(f"{what} is not depth; wanted '16UC1; compressedDepth' or '32FC1; ...'")
    if 'rvl' in message.format.lower():
        raise RosError(f'{what} is RVL, which is not supported; set the publisher to png')
    if len(data) <= _COMPRESSED_DEPTH_HEADER.size:
        raise RosError(f'{what}: {len(data)} bytes of data; wanted a 12-byte header and a PNG')
    _, quant_a, quant_b = _COMPRESSED_DEPTH_HEADER.unpack_from(data)
    raw = np.asarray(_decoded(data[_COMPRESSED_DEPTH_HEADER.size :], what))
    if raw.ndim != 2 or raw.dtype == np.uint8:
        raise RosError(f'{what}: its PNG holds {raw.shape} {raw.dtype}; wanted 16-bit grey')
    raw = raw.astype(np.uint16)
    if encoding != '32FC1':
        return raw
    if not np.isfinite([quant_a, quant_b]).all() or quant_a <= 0:
        raise RosError(
            f'{what}: quantisation is {quant_a:g}, {quant_b:g}; wanted positive numbers'
        )
    # The publisher wrote round(a / depth + b), and 0 where there is no depth.
    inverse = raw.astype(np.float32) - np.float32(quant_b)
    depth = np.full(raw.shape, np.nan, np.float32)
    np.divide(np.float32(quant_a), inverse, out=depth, where=(raw > 0) & (inverse > 0))
    return depth


def _decoded(data: Any, what: str) -> Any:
    from PIL import Image as PilImage

    try:
        picture = PilImage.open(io.BytesIO(memoryview(data)), formats=('JPEG', 'PNG'))
        picture.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, bombs ...
        raise RosError(
            f'{what}: {len(data)} bytes are not a whole JPEG or PNG: {error}'
        ) from error
    return picture


def _rgb_from_yuv422(pixels: np.ndarray, luma_first: bool) -> np.ndarray:
    """(H, W, 2) of luma and alternating u, v to (H, W, 3) RGB by BT.601 (full range)."""
    if pixels.shape[1] % 2:
        raise RosError(f'image: yuv422 is {pixels.shape[1]} pixels wide; wanted an even width')
    luma, chroma = (0, 1) if luma_first else (1, 0)
    y = pixels[..., luma].astype(np.float32)
    u = np.repeat(pixels[:, 0::2, chroma].astype(np.float32) - 128, 2, axis=1)
    v = np.repeat(pixels[:, 1::2, chroma].astype(np.float32) - 128, 2, axis=1)
    rgb = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], axis=-1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)


def _field(message: Any, name: str) -> Any:
    """A CameraInfo matrix: lower case in ROS 2, upper case in ROS 1."""
    return getattr(message, name) if hasattr(message, name) else getattr(message, name.upper())


def _short(text: str) -> str:
    """Text from a message, quoted and cut to a line's length."""
    return repr(text if len(text) <= 40 else text[:40] + '...')
