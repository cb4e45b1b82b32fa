"""Judges: language models that mark an answer. Any OpenAI-compatible endpoint, or a local model.

A judge that cannot be asked raises; it never answers in the model's place.
"""

from tosa_ros.evaluation.judge.endpoint import EndpointJudge
from tosa_ros.evaluation.judge.local import LocalJudge
from tosa_ros.evaluation.judge.protocol import Judge, JudgeError, UnmarkedError

__all__ = ['EndpointJudge', 'Judge', 'JudgeError', 'LocalJudge', 'UnmarkedError']
