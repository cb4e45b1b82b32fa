"""qa_node: questions about what vision_node sees -> answers, streamed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from std_msgs.msg import String

from tosa_ros.errors import ModelError, QuestionError, printable
from tosa_ros.ros.answer_queue import AnswerQueue
from tosa_ros.ros.diagnostics import model_name
from tosa_ros.ros.evidence_cloud import evidence_cloud
from tosa_ros.ros.memory import FrameMemory, Seen
from tosa_ros.ros.models import load_half
from tosa_ros.ros.node import TosaNode, run_node
from tosa_ros.ros.places import Places
from tosa_ros.ros.questions import parse_question, refusal
from tosa_ros.ros.replies import Reply
from tosa_ros.ros.token_cloud import tokens_from_cloud
from tosa_ros.ros.topics import QA_SERVICES, TF, TF_STATIC, TF_TYPE, ros_type
from tosa_ros.settings import DRAWING, SYSTEM
from tosa_ros.vlm import Answerer, Answering, AnswerOptions, Evidence, VisualTokens

if TYPE_CHECKING:
    from tosa_ros.ros.vision_node import VisionNode


class QaNode(TosaNode):
    """Loads the language half of a model.

    vision: the vision node of this process, which then passes its tokens without a message;
        else they come on the topic visual_tokens.
    """

    needed_inputs = ('visual_tokens',)

    def __init__(self, vision: VisionNode | None = None, **node_options: Any) -> None:
        self._vision, self._queue, self._enabled = vision, None, True
        self._offered: list[Any] = []
        super().__init__('qa_node', **node_options)
        if vision is not None:
            vision.add_sink(self)

    def configure(self) -> None:
        answerer = load_half(Answerer, self, trained_frames=self.value('trained_frames'))
        # The first inference is slow, and shows what does not fit in memory: before the start.
        list(answerer.stream([], 'ready?', max_new_tokens=1, **_options(self.values())))
        self._no_evidence = _why_no_evidence(answerer)
        self._answer = self.publisher('answer')
        self._partial = self.publisher('answer/partial')
        self._evidence = self.publisher('answer/evidence')
        self._offered = [
            self.create_service(ros_type(service.type), service.name, callback)
            for service, callback in zip(QA_SERVICES, (self._cancel, self._enable), strict=True)
        ]
        self._memory = FrameMemory(self.value('frames'), self.value('frame_interval_s'))
        self._places = self._known_places()
        self._queue = self.worker = AnswerQueue(
            answerer,
            self._memory,
            self._publish,
            clock=self._clock_s,
            on_error=self.work_failed,
            places=self._places,
            sink=self,
        )
        self.on_parameters({})

    def release(self) -> None:
        self._queue = None
        while self._offered:
            self.destroy_service(self._offered.pop())

    def on_parameters(self, changed: dict[str, Any]) -> None:
        if self._queue is None:
            return
        self._memory.set_span(self.value('frames'), self.value('frame_interval_s'))
        self._queue.max_waiting = self.value('max_questions')
        self._queue.max_age_s = self.value('max_age_s')
        self._queue.wait_s = self.value('wait_s')
        self._queue.max_new_tokens = self.value('max_new_tokens')
        self._queue.options = _options(self.values())

    def check_together(self, values: dict[str, Any], given: dict[str, Any]) -> None:
        Answering(**_options(values))

    def demanded(self) -> bool:
        """Whether someone wants answers; evidence without them is nothing to wake up for."""
        return self.listeners('answer') + self.listeners('answer/partial') > 0

    def wanted(self) -> bool:
        """Whether to find out what an answer looks at."""
        if not self.listeners('answer/evidence'):
            return False
        if self._no_evidence:
            self.fault('evidence', self._no_evidence)
        return not self._no_evidence

    def show(self, frames: Sequence[Seen], evidence: Evidence) -> None:
        """Publishes what an answer looked at; called from the queue's thread."""
        count = self.value('evidence_tokens')
        try:
            self._evidence.publish(evidence_cloud(frames, evidence, self._places, count))
        except Exception as error:  # The answer is out.
            self.work_failed(error)

    def wants_tokens(self) -> bool:
        """Whether vision_node has something to do for this node.

        A question that waits is enough: who asks need not listen yet, or may read the log.
        """
        waiting = self._queue is not None and self._queue.pending > 0
        return self.active and self._enabled and (waiting or self.demanded())

    def wanted_inputs(self) -> dict[str, Callable[[Any], None]]:
        inputs = {'question': self._question_came}
        if not self.wants_tokens():
            # After a rest a question waits for what is there then.
            self._memory.forget()
        if self._vision is not None:
            self._vision.update_inputs()
        elif self.wants_tokens():
            inputs['visual_tokens'] = self._tokens_came
        if self.wants_tokens() and self._places.readable:
            inputs |= {TF: self._places.add, TF_STATIC: self._places.add_static}
            # Once a second at least: tf knows of the last ten.
            self._places.keep(self._memory.kept())
        return inputs

    def status(self) -> dict[str, str]:
        waiting = self._queue.pending if self._queue is not None else 0
        enabled = str(self._enabled).lower()
        return {
            'model': model_name(self.value('model')),
            'enabled': enabled,
            'questions_waiting': str(waiting),
        }

    def receive_tokens(self, tokens: VisualTokens, frame_id: str) -> None:
        """Remembers a frame's tokens; called from vision_node's thread or from a subscription."""
        self.meter.input(self.now())
        if self._queue is not None:
            self._memory.add(Seen(tokens, frame_id, self._clock_s()))

    def _tokens_came(self, message: Any) -> None:
        self.receive_tokens(tokens_from_cloud(message), message.header.frame_id)

    def _question_came(self, message: Any) -> None:
        try:
            question = parse_question(message.data)
        except QuestionError as error:
            self._publish(refusal(message.data, str(error)))
            return
        if not self._enabled:
            self._queue.refuse(question, 'qa_node is disabled; call its service enable')
            return
        self._queue.ask(question)
        self.update_inputs()

    def _cancel(self, _: Any, response: Any) -> Any:
        ended = self._queue.clear()
        response.success = True
        response.message = f'{ended} questions cancelled'
        return response

    def _enable(self, request: Any, response: Any) -> Any:
        self._enabled = request.data
        if not request.data:
            self._queue.clear('qa_node was disabled')
        self.update_inputs()
        response.success = True
        response.message = 'enabled' if request.data else 'disabled'
        return response

    def _publish(self, reply: Reply) -> None:
        message = String(data=reply.to_json())
        if reply.text and not reply.error:
            self._partial.publish(message)
        if reply.done:
            if not reply.error and reply.first_word_ms is not None:
                self.meter.done(self.now(), reply.latency_ms / 1e3)
            self._answer.publish(message)
            self.get_logger().info(_told(reply))

    def _known_places(self) -> Places:
        map_frame, unreadable = self.value('map_frame'), ''
        try:
            ros_type(TF_TYPE)
        except ImportError:
            unreadable = 'tf2_msgs is not installed, so that /tf cannot be read'
        return Places(map_frame, self.value('transform_tolerance_s'), unreadable)

    def _clock_s(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9


def _options(values: dict[str, Any]) -> AnswerOptions:
    return {row.name: values[row.name] for row in (*DRAWING, SYSTEM)}


def _why_no_evidence(answerer: Answerer) -> str:
    """Why it cannot be seen what this model's answers look at; empty where it can."""
    try:
        list(answerer.stream([], 'ready?', max_new_tokens=1, evidence=True))
    except ModelError as error:
        return f'answer/evidence: {error}'
    return ''


def _told(reply: Reply) -> str:
    """A question and what came of it, for the log."""
    question = printable(f'question {reply.id}: {reply.question!r}')
    if reply.error:
        return f'{question}: refused: {printable(reply.error)}'
    note = f' ({reply.note})' if reply.note else ''
    return f'{question}: {printable(repr(reply.text))} after {reply.latency_ms:.0f} ms{note}'


def main(args: Sequence[str] | None = None) -> int:
    return run_node(QaNode, args)
