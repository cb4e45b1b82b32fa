"""vision_node: colour and depth -> visual tokens of the newest frame, and a picture of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from tosa_ros.depth import SensorDepth
from tosa_ros.drawing import draw_tokens, token_map
from tosa_ros.frames import ALL_DOUBTS, DepthDoubt, Frame
from tosa_ros.messages import FrameBuilder, stamp_ns
from tosa_ros.ros.conversions import image_message
from tosa_ros.ros.decoding import ImageFeed
from tosa_ros.ros.diagnostics import model_name
from tosa_ros.ros.inputs import resolved_name
from tosa_ros.ros.models import check_merging, load_half, merging_from
from tosa_ros.ros.node import TosaNode, run_node
from tosa_ros.ros.pairing import Pair, Pairing
from tosa_ros.ros.token_cloud import cloud_from_tokens
from tosa_ros.ros.topics import image_topic, image_topics
from tosa_ros.vlm import VisionEncoder, VisualTokens


class TokenSink(Protocol):
    """A receiver of tokens in the same process, without messages."""

    def wants_tokens(self) -> bool: ...

    def receive_tokens(self, tokens: VisualTokens, frame_id: str) -> None: ...


class _Job(NamedTuple):
    colour: Any
    depth: Any | None
    relative: bool
    came: float


class VisionNode(TosaNode):
    """Loads the vision half of a model. One frame at a time, always the newest."""

    needed_inputs = (*image_topics('image'), 'camera_info')

    def __init__(self, **node_options: Any) -> None:
        self._sinks: list[TokenSink] = []
        self._encoder: Any = None
        self._kept = ''
        self._feed = ImageFeed(self._image_came, self.work_failed)
        self._pairs = threading.Lock()  # A video's images come from another thread.
        super().__init__('vision_node', **node_options)

    def add_sink(self, sink: TokenSink) -> None:
        """Also passes the tokens to a receiver in this process."""
        self._sinks.append(sink)

    def configure(self) -> None:
        self._encoder = load_half(
            VisionEncoder,
            self,
            tiles=self.value('tiles'),
            tower=self.value('tower') or None,
            compile=self.value('compile'),
        )
        if self.value('compile'):
            self.get_logger().info('compiling the tower, which takes a minute or more')
        self._set_merging()
        # The first inference is slow, and shows what does not fit in memory: before the start.
        self._encoder.encode([Frame(np.zeros((64, 64, 3), np.uint8))])
        self._builder = FrameBuilder(self.fault, self.value('rectified'))
        self._builder.sensor = SensorDepth(scale=self.value('depth_scale'))
        self._depth_said = False
        self._pairing = self._new_pairing()
        self._tokens = self.publisher('visual_tokens')
        self._picture = self.publisher('merge_image')

    def release(self) -> None:
        self._encoder = None

    def demanded(self) -> bool:
        return super().demanded() or any(sink.wants_tokens() for sink in self._sinks)

    def wanted_inputs(self) -> dict[str, Callable[[Any], None]]:
        if not self.demanded():
            # What was seen before the rest says nothing about depth after it.
            self._pairing = self._new_pairing()
            self._feed.stop()
            return {}
        inputs = {
            image_topic('image', self.value('image_transport')): self._feed.put,
            'camera_info': self._builder.camera_info,
        }
        if self.value('use_depth'):
            inputs['depth'] = lambda message: self._depth_came(message, relative=False)
            inputs['relative_depth'] = lambda message: self._depth_came(message, relative=True)
            inputs['depth/doubts'] = self._doubts_came
        return inputs

    def on_parameters(self, changed: dict[str, Any]) -> None:
        if self._encoder is None:
            return
        self._builder.sensor = SensorDepth(scale=self.value('depth_scale'))
        self._pairing.slop_s = self.value('sync_slop_s')
        self._pairing.timeout_s = self.value('depth_timeout_s')
        self._set_merging()

    def check_together(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        method = check_merging(values, given)
        if self._encoder is not None:
            self._encoder.check(method)

    def status(self) -> dict[str, str]:
        return {'model': model_name(self.value('model')), 'tokens': self._kept}

    def _new_pairing(self) -> Pairing:
        return Pairing(
            self.value('sync_slop_s'), self.value('depth_timeout_s'), self.value('use_depth')
        )

    def _set_merging(self) -> None:
        method, lacking = merging_from(self.values())
        if lacking and type(method) is not type(self._encoder.merging):
            self.get_logger().warning(
                f'{", ".join(lacking)}: set, but without effect while method is '
                f'{self.value("method")}'
            )
        self._encoder.merging = method

    def close(self) -> bool:
        self._feed.stop()
        return super().close()

    def _image_came(self, image: Any) -> None:
        now, stamp = self.now(), stamp_ns(image.header.stamp)
        self.meter.input(now)
        with self._pairs:
            self._submit(self._pairing.add_colour(stamp, (image, now), now), now)

    def _depth_came(self, message: Any, relative: bool) -> None:
        if not self._depth_said:
            self._depth_said = True
            topic = resolved_name(self, 'relative_depth' if relative else 'depth')
            self.get_logger().info(
                f'depth comes from {topic}: {message.encoding}, {message.width}x{message.height} '
                f'pixels, in the frame {message.header.frame_id!r}'
            )
        now, stamp = self.now(), stamp_ns(message.header.stamp)
        with self._pairs:
            self._submit(self._pairing.add_depth(stamp, (message, relative), now), now)

    def _doubts_came(self, message: Any) -> None:
        self._builder.doubts = DepthDoubt(message.data) & ALL_DOUBTS

    def _submit(self, pair: Pair | None, now: float) -> None:
        trouble = self._pairing.trouble(now)
        if trouble:
            self.fault('depth', trouble)
        if pair is not None:
            colour, came = pair.colour
            depth, relative = pair.depth or (None, False)
            self.worker.submit(_Job(colour, depth, relative, came))

    def work(self, job: _Job) -> None:
        frame = self._builder.frame(job.colour, job.depth, job.relative)
        [tokens] = self._encoder.encode([frame])
        self._kept = f'{len(tokens)} of {tokens.before}, {tokens.spatial}'
        header = job.colour.header
        for sink in self._sinks:
            sink.receive_tokens(tokens, header.frame_id)
        if self.listeners('visual_tokens'):
            cloud = cloud_from_tokens(tokens, header, frame.width, frame.height)
            self._tokens.publish(cloud)
        self.meter.done(self.now(), self.now() - job.came)
        if self.listeners('merge_image'):
            drawn = token_map(*self._encoder.patches(frame, tokens))
            picture = draw_tokens(frame.rgb, drawn)
            self._picture.publish(image_message(picture, 'rgb8', header))


def main(args: Sequence[str] | None = None) -> int:
    return run_node(VisionNode, args)
