"""The offline Python API: frames and a question -> an answer, one or millions.

vqa: VqaPipeline. conversation: Conversation, its talks. answers: Answer. requests: what is asked,
and Engine, who answers. batching: LocalEngine, which does so in full batches. many: the stream of
answers for a caller.
"""

from tosa_ros.pipeline.answers import Answer, answers_to_dataframe
from tosa_ros.pipeline.batching import LocalEngine
from tosa_ros.pipeline.conversation import Conversation
from tosa_ros.pipeline.requests import Engine, Request
from tosa_ros.pipeline.vqa import VqaPipeline

__all__ = [
    'Answer',
    'Conversation',
    'Engine',
    'LocalEngine',
    'Request',
    'VqaPipeline',
    'answers_to_dataframe',
]
