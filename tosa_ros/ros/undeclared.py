"""What parameters a node is given but does not have: mistakes, or what is meant for another.

A file's block `/**:` goes to every node, so that each sees the parameters of all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from tosa_ros.ros.inputs import resolved_name
from tosa_ros.ros.topics import DIAGNOSTICS, POLICIES, TOPICS, Topic
from tosa_ros.settings import NODES, node_settings


def undeclared(node: Any, topics: Iterable[Topic]) -> tuple[list[str], list[str]]:
    """Names that a parameter file or the command line gives this node, but it does not have.

    topics: the node's own, whose QoS may be overridden.

    Returns:
        those of no node, each with what may be meant, and those of other nodes of the graph.
    """
    known = set(_overrides(node, (*topics, DIAGNOSTICS)))
    others = {row.name for name in NODES for row in node_settings(name)}
    others |= {name for table in TOPICS.values() for name in _overrides(node, table)}
    unknown, elsewhere = [], []
    for name in sorted(node._parameter_overrides):
        if node.has_parameter(name) or name in known:
            continue
        if name in others:
            elsewhere.append(name)
        else:
            like = difflib.get_close_matches(name, [*node._parameters, *known], 1, cutoff=0.7)
            unknown.append(f'{name} (did you mean {like[0]}?)' if like else name)
    return unknown, elsewhere


def _overrides(node: Any, topics: Iterable[Topic]) -> Iterable[str]:
    """The parameters that override the QoS of these topics."""
    for topic in topics:
        entity = 'publisher' if topic.out else 'subscription'
        prefix = f'qos_overrides.{resolved_name(node, topic.name)}.{entity}.'
        yield from (prefix + policy for policy in POLICIES)
