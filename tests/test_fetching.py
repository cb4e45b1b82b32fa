"""Files and folders at URLs: copied once, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import fsspec
import pytest

from tosa_ros.cli.main import main
from tosa_ros.errors import DataError
from tosa_ros.fetching import Url, local, path_or_url


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'tosa_ros' / 'data'


@pytest.fixture
def store():
    """Files in memory, at memory://."""
    files = fsspec.filesystem('memory')
    files.pipe({'/set/a.json': b'[1]', '/set/frames/0/x.txt': b'x', '/set/frames/1/y.txt': b'y'})
    yield files
    files.rm('/set', recursive=True)


@pytest.mark.parametrize(
    ('text', 'kind'),
    [('a/b.json', Path), ('C:/x', Path), ('s3://bucket/a', Url), ('file:///tmp/x', Url)],
)
def test_what_an_option_names(text, kind):
    assert isinstance(path_or_url(text), kind)
    assert str(path_or_url(text)) == text


def test_a_path_is_itself():
    assert local(Path('gone')) == Path('gone')


def test_files_and_folders_are_copied_once(store, cache):
    path = local(Url('memory://set/a.json'))
    assert (path.name, path.read_text()) == ('a.json', '[1]')
    store.pipe('/set/a.json', b'[2]')
    assert local(Url('memory://set/a.json')).read_text() == '[1]'
    folder = local(Url('memory://set/frames/'))
    found = {str(one.relative_to(folder)): one.read_text() for one in folder.rglob('*.txt')}
    assert found == {'0/x.txt': 'x', '1/y.txt': 'y'}
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    ('url', 'said'),
    [
        ('memory://set/gone', 'memory://set/gone: cannot be read: FileNotFoundError'),
        ('nosuch://a', 'nosuch://a: cannot be read: ValueError'),
        ('nosuch://me:secret@host/a', 'nosuch://host/a: cannot be read'),
    ],
)
def test_what_is_not_there_is_one_line_and_leaves_nothing(cache, url, said):
    with pytest.raises(DataError) as caught:
        local(Url(url))
    assert str(caught.value).startswith(said)
    assert 'secret' not in str(caught.value).partition(': cannot')[0]
    assert not cache.exists() or not list(cache.iterdir())


def test_a_benchmark_is_read_from_urls(tmp_path, capsys, frames):
    pytest.importorskip('matplotlib')
    from tosa_ros.sources import write_folder

    write_folder(tmp_path / 'there' / 'frames' / 'a', frames)
    questions = [{'question': 'What is it?', 'answer': 'a cup', 'id': 1, 'episode': 'a'}]
    (tmp_path / 'there' / 'q.json').write_text(json.dumps(questions))
    line = ['eval', 'jsonl', '--data', f'file://{tmp_path}/there/q.json', '--dry-run', '--json']
    line += ['--frames-root', f'file://{tmp_path}/there/frames']
    assert main(line) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['questions'], found['missing']) == (1, {})
    assert found['settings']['frames_root'] == f'file://{tmp_path}/there/frames'
