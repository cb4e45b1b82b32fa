"""What the documents name exists: commands, options, modules, files."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from tosa_ros.cli.main import build_parser, leaves
from tosa_ros.cli.parsing import option_strings

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / 'CONTRIBUTING.md', ROOT / 'README.md', *ROOT.glob('docs/*.md')])
IDS = [str(d.relative_to(ROOT)) for d in DOCUMENTS]


@pytest.mark.parametrize('document', DOCUMENTS, ids=IDS)
def test_commands_and_options_exist(document):
    commands = next(a for a in build_parser()._actions if a.dest == 'command').choices
    text = document.read_text().replace('\\\n', ' ')
    for line in re.findall(r'(?:^|`|\$ )(tosa [a-z][^`\n]*)', text, flags=re.MULTILINE):
        command = line.split()[1]
        assert command in commands, f'{document.name}: {line}'
        parser = commands[command]
        for word in line.split()[2:]:
            below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
            if below and word in below[0].choices:
                parser = below[0].choices[word]
        known = {option for leaf in leaves(parser) for option in option_strings(leaf)}
        for option in re.findall(r'(?<=\s)--[a-z][a-z-]*', line):
            assert option in known, f'{document.name}: {line}'


@pytest.mark.parametrize('document', DOCUMENTS, ids=IDS)
def test_modules_and_names_exist(document):
    for dotted in set(re.findall(r'`(tosa_ros(?:\.\w+)+)', document.read_text())):
        parts = dotted.split('.')
        for cut in range(len(parts), 0, -1):
            try:
                found = importlib.import_module('.'.join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            for name in parts[cut:]:
                found = getattr(found, name)
            break


@pytest.mark.parametrize('document', DOCUMENTS, ids=IDS)
def test_linked_and_named_files_exist(document):
    text = document.read_text()
    for target in re.findall(r'\]\(([^)#]+)\)', text):
        if '://' not in target:
            assert (document.parent / target).exists(), target
    for target in set(
        re.findall(r'`((?:tosa_ros|docs|tests|config|launch|benchmarks)/[\w./-]+)`', text)
    ):
        assert (ROOT / target).exists(), f'{document.name}: {target}'


@pytest.mark.parametrize('document', DOCUMENTS, ids=IDS)
def test_python_examples_compile(document):
    for block in re.findall(r'```python\n(.*?)```', document.read_text(), flags=re.DOTALL):
        compile(block, str(document), 'exec')
        for name in re.findall(r'^from (tosa_ros[\w.]*) import (.+)$', block, flags=re.MULTILINE):
            module = importlib.import_module(name[0])
            for item in name[1].split(','):
                assert hasattr(module, item.strip()), item


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r'^(\w+):', (ROOT / 'Makefile').read_text(), flags=re.MULTILINE))
    named = set(re.findall(r'(?:^|`)make (\w+)', (ROOT / 'README.md').read_text(), re.M))
    assert {'demo', 'test'} <= named <= targets


def test_the_site_and_its_front_page_lead_to_every_page():
    pages = {page.name for page in ROOT.glob('docs/*.md')}
    navigation = (ROOT / 'mkdocs.yml').read_text().partition('\nnav:')[2]
    assert set(re.findall(r'[\w-]+\.md', navigation)) == pages
    front = (ROOT / 'docs/index.md').read_text()
    assert set(re.findall(r'\]\(([\w-]+\.md)\)', front)) == pages - {'index.md'}
