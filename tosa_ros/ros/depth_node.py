"""depth_node: a sensor's depth in metres on the colour image's pixels, or an estimate of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose
from std_msgs.msg import Header, UInt8

from tosa_ros.errors import RosError
from tosa_ros.frames import DepthDoubt
from tosa_ros.messages import SensorReader, pose_from_message, rgb_from_message
from tosa_ros.messages.topic_names import says_other_than_depth
from tosa_ros.ros.conversions import image_message
from tosa_ros.ros.decoding import ImageFeed
from tosa_ros.ros.diagnostics import model_name
from tosa_ros.ros.extrinsic import NotYetError, StaticExtrinsic
from tosa_ros.ros.inputs import resolved_name
from tosa_ros.ros.node import TosaNode, run_node
from tosa_ros.ros.topics import TF_STATIC, image_topic, image_topics, ros_type

_OWN_INFO = 'depth_camera_info'


class DepthNode(TosaNode):
    """Publishes depth (metres) or, from an estimator without scale, relative_depth."""

    needed_inputs = (*image_topics('sensor_depth'), *image_topics('image'), _OWN_INFO)

    def __init__(self, **node_options: Any) -> None:
        self._reader: SensorReader | None = None
        self._estimator: Any = None
        self._told: DepthDoubt | None = None
        self._static: StaticExtrinsic | None = None
        self._feed = ImageFeed(self._image_came, self.work_failed)
        super().__init__('depth_node', **node_options)

    def configure(self) -> None:
        kind = 'metric'
        if self.value('source') == 'monocular':
            # Torch is for this source alone.
            from tosa_ros.ros.models import load_estimator

            self._estimator = load_estimator(self)
            kind = self._estimator.kind
            # The first inference is slow, and shows what does not fit: before the start.
            self._estimator.estimate(np.zeros((64, 64, 3), np.uint8))
        else:
            moved = self._extrinsic() if self.value('register') else None
            if moved is None:  # Whether it should be registered is good to know, no more.
                self.needed_inputs = tuple(n for n in self.needed_inputs if n != _OWN_INFO)
            self._static = moved if isinstance(moved, StaticExtrinsic) else None
            rectified = self.value('rectified')
            self._reader = SensorReader(depth_to_colour=moved, rectified=rectified, coarse=True)
            self.on_parameters({})
        output = 'depth' if kind == 'metric' else 'relative_depth'
        topic = resolved_name(self, output)
        if topic == resolved_name(self, self._input()):
            raise RosError(
                f'{topic} is both {self._input()}, which depth_node reads, and {output}, which it '
                "writes; start the nodes in a namespace, or give the camera's topic another name"
            )
        self._depth, self._told = self.publisher(output), None
        self._doubts = self.publisher('depth/doubts')

    def release(self) -> None:
        self._reader = self._estimator = self._static = None

    def wanted_inputs(self) -> dict[str, Callable[[Any], None]]:
        if not self.demanded():
            self._feed.stop()
            return {}
        inputs: dict[str, Callable[[Any], None]] = {self._input(): self._feed.put}
        reader = self._reader
        if reader is not None and (self.value('register') or not reader.knows_cameras):
            for info in ('camera_info', _OWN_INFO):
                inputs[info] = partial(self._reader.camera_info, info)
        if self._static is not None:
            inputs[TF_STATIC] = self._static.add
        return inputs

    def on_parameters(self, changed: dict[str, Any]) -> None:
        if self._reader is not None:
            self._reader.scale = self.value('depth_scale')
            self._reader.min_m = self.value('min_depth_m')
            self._reader.max_m = self.value('max_depth_m')

    def status(self) -> dict[str, str]:
        sensor = self.value('source') == 'sensor'
        return {'model': 'sensor' if sensor else model_name(self.value('depth_model'))}

    def _input(self) -> str:
        """The name of the topic that it makes depth of."""
        if self._reader is None:
            return image_topic('image', self.value('image_transport'))
        return image_topic('sensor_depth', self.value('depth_transport'))

    def _extrinsic(self) -> np.ndarray | StaticExtrinsic:
        numbers = self.value('extrinsic')
        if numbers is None:
            try:
                ros_type(self._topics[TF_STATIC].type)
            except ImportError as error:
                raise RosError(
                    f'register: /tf_static cannot be read ({error}): install tf2_msgs, or set '
                    'extrinsic'
                ) from None
            return StaticExtrinsic(self.value('extrinsic_timeout_s'), self.now)
        pose = Pose()
        pose.position.x, pose.position.y, pose.position.z = numbers[:3]
        quaternion = pose.orientation
        quaternion.x, quaternion.y, quaternion.z, quaternion.w = numbers[3:]
        try:
            return pose_from_message(pose)
        except RosError as error:
            raise RosError(f'parameter extrinsic: {error}') from error

    def close(self) -> bool:
        self._feed.stop()
        return super().close()

    def _image_came(self, image: Any) -> None:
        now = self.now()
        self.meter.input(now)
        self.worker.submit((image, now))

    def work(self, item: tuple[Any, float]) -> None:
        message, came = item
        if self._reader is not None:
            try:
                depth, frame_id = self._reader.read(message)
            except NotYetError:
                return
            doubts = self._reader.doubts(message.header.frame_id)
        else:
            estimate = self._estimator.estimate(rgb_from_message(message))
            metric = estimate.relative_depth is None
            depth = estimate.depth_m if metric else estimate.relative_depth
            frame_id = message.header.frame_id
            doubts = DepthDoubt.ESTIMATED
        self._tell(message, depth, doubts)
        header = Header(stamp=message.header.stamp, frame_id=frame_id)
        self._depth.publish(image_message(depth, '32FC1', header))
        self.meter.done(self.now(), self.now() - came)

    def _tell(self, message: Any, depth: np.ndarray, doubts: DepthDoubt) -> None:
        """Says what depth is made of, once, and what is not known of it, when that changes."""
        topic = resolved_name(self, self._input())
        if self._told is None:
            kind = getattr(message, 'encoding', '') or getattr(message, 'format', '')
            self.get_logger().info(
                f'depth is made of {topic}: {kind}, {depth.shape[1]}x{depth.shape[0]} pixels, in '
                f'the frame {message.header.frame_id!r}'
            )
            word = says_other_than_depth(topic)
            if word and self._reader is not None:
                self.get_logger().warning(
                    f'{topic} is taken as depth, as it was named, but its name says {word}'
                )
        if doubts & DepthDoubt.ALIGNED:
            self.fault(
                'aligned',
                "depth's calibration is not the colour camera's: depth is used as if it were "
                "aligned to colour; use the driver's aligned depth, or register: true",
            )
        if self._reader is not None and self._reader.beyond_m is not None:
            low, high, scale = (
                self.value(n) for n in ('min_depth_m', 'max_depth_m', 'depth_scale')
            )
            self.fault(
                'range',
                f'all of the depth is outside of {low:g} to {high:g} m (its median is '
                f'{self._reader.beyond_m:.3g} m) and is left out: is depth_scale, {scale:g} units '
                'a metre, right? Else change min_depth_m or max_depth_m',
            )
        if doubts != self._told:
            self._told = doubts
            self._doubts.publish(UInt8(data=int(doubts)))


def main(args: Sequence[str] | None = None) -> int:
    return run_node(DepthNode, args)
