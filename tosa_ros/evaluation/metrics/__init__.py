"""Official metrics, one module a benchmark; they know texts only, no files and no frames."""

from tosa_ros.evaluation.metrics.score import QuestionId, Score, interval, make_score

__all__ = ['QuestionId', 'Score', 'interval', 'make_score']
