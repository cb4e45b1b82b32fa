"""config/sros2_policy.xml lets the three nodes do what they do, and nothing else."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from tosa_ros.ros.topics import SERVICES, TOPICS

POLICY = Path(__file__).parents[2] / 'config' / 'sros2_policy.xml'
NODES = ('depth_node', 'vision_node', 'qa_node')
# kind, way -> tag of what is named; by sros2's policy.xsd, version 0.2.0.
WAYS = {
    ('topics', 'publish'): 'topic',
    ('topics', 'subscribe'): 'topic',
    ('services', 'reply'): 'service',
    ('services', 'request'): 'service',
}


def allowed():
    """node -> (kind, way) -> names with the node's own name in the place of ~."""
    profiles = {}
    for profile in ElementTree.parse(POLICY).getroot().iter('profile'):
        ways = profiles.setdefault(profile.get('node'), {})
        for block in profile:
            [(way, rule)] = block.attrib.items()
            assert rule == 'ALLOW'
            names = [name.text.replace('~', f'/{profile.get("node")}') for name in block]
            assert len(names) == len({*names})
            ways[block.tag, way] = {n if n.startswith('/') else f'/{n}' for n in names}
    return profiles


def test_the_file_has_the_layout_of_sros2():
    root = ElementTree.parse(POLICY).getroot()
    assert (root.tag, root.attrib) == ('policy', {'version': '0.2.0'})
    [enclaves] = root
    assert enclaves.tag == 'enclaves'
    for enclave in enclaves:
        assert enclave.tag == 'enclave'
        assert enclave.get('path').startswith('/')
        [profiles] = enclave
        assert profiles.tag == 'profiles'
        for profile in profiles:
            assert profile.tag == 'profile'
            assert {*profile.attrib} == {'ns', 'node'}
            for block in profile:
                [way] = block.attrib
                tag = WAYS[block.tag, way]
                assert all(name.tag == tag and name.text.strip() for name in block)


@pytest.mark.parametrize('node', NODES)
def test_every_topic_and_service_of_the_tables_is_named(node):
    named = allowed()[node]
    out, wanted = (
        {f'/{t.name.lstrip("/")}' for t in TOPICS[node] if t.out is way} for way in (True, False)
    )
    always = {f'/{node}/transition_event', '/diagnostics', '/parameter_events', '/rosout'}
    assert named['topics', 'publish'] == out | always
    assert named['topics', 'subscribe'] == wanted | {'/clock'}
    assert {f'/{s.name}' for s in SERVICES[node]} <= named['services', 'reply']


@pytest.mark.parametrize('name', NODES)
def test_a_running_node_does_nothing_that_is_not_allowed(node_here, bench, checkpoint, name):
    from importlib import import_module

    module = import_module(f'tosa_ros.ros.{name}')
    kind = getattr(module, ''.join(part.title() for part in name.split('_')))
    parameters = {'use_sim_time': True}
    if name == 'depth_node':
        parameters['source'] = 'sensor'
    else:
        parameters['model'] = str(checkpoint)
    node = node_here(kind, **parameters)
    for topic in TOPICS[name]:
        if topic.out:
            bench.listen(topic.name)
    bench.wait(lambda: node.active)
    named = allowed()[name]

    def does(list_of):
        return {topic for topic, _ in list_of(name, '/')}

    # Inputs are subscribed to when somebody listens to the outputs.
    bench.wait(lambda: len(does(node.get_subscriber_names_and_types_by_node)) > 1)
    assert does(node.get_publisher_names_and_types_by_node) <= named['topics', 'publish']
    assert does(node.get_subscriber_names_and_types_by_node) <= named['topics', 'subscribe']
    assert does(node.get_service_names_and_types_by_node) <= named['services', 'reply']
    assert does(node.get_client_names_and_types_by_node) == set()
