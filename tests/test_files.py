"""Files are written whole or not at all, and read with errors that name them."""

from __future__ import annotations

import os
import stat

import pytest

from tosa_ros.errors import DataError, FrameError
from tosa_ros.files import (
    make_folder,
    read_json,
    read_text,
    whole_file,
    whole_folder,
    write_json,
    write_text,
)


def test_the_new_file_takes_the_place_of_the_old_one_and_leaves_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    write_text(path, 'old\n')
    with whole_file(path) as partial:
        assert partial.parent == tmp_path
        assert partial.suffix == '.txt'
        partial.write_text('new\n')
        assert path.read_text() == 'old\n'
    assert path.read_text() == 'new\n'
    assert os.listdir(tmp_path) == ['a.txt']


def test_the_file_has_the_rights_that_any_new_file_has(tmp_path):
    (tmp_path / 'plain').touch()
    write_text(tmp_path / 'whole', 'x')
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ('plain', 'whole')]
    assert rights[0] == rights[1]


def test_contents_are_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: (sync(fd), done.append('fsync')))
    monkeypatch.setattr(os, 'replace', lambda a, b: (replace(a, b), done.append('replace')))
    write_text(tmp_path / 'a', 'x')
    fill(tmp_path / 'folder', 'one', 'two')
    assert done == ['fsync', 'replace', 'fsync', 'fsync', 'replace']


def fill(path, *names, over=False, error=None):
    """Writes a folder with these files in it; fails with `error` when they are written."""
    with whole_folder(path, over=over) as folder:
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        if error:
            raise error


def break_off(path, error):
    with whole_file(path, FrameError) as partial:
        partial.write_text('{"new"')
        raise error


@pytest.mark.parametrize('error', [RuntimeError('no'), KeyboardInterrupt(), OSError(28, 'full')])
def test_a_failure_leaves_the_old_file_and_nothing_of_the_new_one(tmp_path, error):
    path = tmp_path / 'a.json'
    write_json(path, {'old': 1})
    wanted = FrameError if isinstance(error, OSError) else type(error)
    with pytest.raises(wanted) as raised:
        break_off(path, error)
    if wanted is FrameError:
        assert str(raised.value) == f'{path}: cannot be written: full'
    assert read_json(path) == {'old': 1}
    assert os.listdir(tmp_path) == ['a.json']


def test_a_failure_leaves_the_old_folder_and_nothing_of_the_new_one(tmp_path):
    path = tmp_path / 'model'
    fill(path, 'old')
    with pytest.raises(RuntimeError):
        fill(path, 'new', over=True, error=RuntimeError('no'))
    assert os.listdir(path) == ['old']
    assert os.listdir(tmp_path) == ['model']


def test_a_folder_is_replaced_only_where_that_is_asked_for(tmp_path):
    path = tmp_path / 'model'
    fill(path, 'first')
    fill(path, 'second', over=True)
    assert os.listdir(path) == ['second']
    with pytest.raises(DataError, match='model: cannot be written: '):
        fill(path, 'third')
    assert os.listdir(path) == ['second']
    assert os.listdir(tmp_path) == ['model']


def test_places_that_cannot_be_written_to(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(DataError, match=r'gone/a: cannot be written: No such file or directory'):
        write_text(tmp_path / 'gone' / 'a', 'x')
    with pytest.raises(DataError, match=r'file/a: cannot be written: Not a directory'):
        write_text(tmp_path / 'file' / 'a', 'x')
    with pytest.raises(DataError, match=r'file: cannot be written to as a folder: File exists'):
        make_folder(tmp_path / 'file')
    with pytest.raises(DataError, match=r'file/a: cannot be written: '):
        fill(tmp_path / 'file' / 'a', 'x')


def test_reading_names_the_file_and_its_fault(tmp_path):
    path = tmp_path / 'a.json'
    with pytest.raises(FrameError, match=r'a\.json: no such file'):
        read_text(path, FrameError)
    for data in (b'caf\xe9 ', b'\xff\xfea', b'\x89PNG\r\n'):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r'a\.json: cannot be read: not a text file in UTF-8'):
            read_text(path)
    with pytest.raises(DataError, match='cannot be read: Is a directory'):
        read_text(tmp_path)
    path.write_text('{"a": }')
    with pytest.raises(DataError, match=r'not JSON: Expecting value at line 1, column 7'):
        read_json(path)
    with pytest.raises(ValueError, match='not JSON compliant'):
        write_json(path, float('nan'))


@pytest.mark.parametrize(
    'encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32', 'utf-32-le']
)
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_text_of_any_editor_is_read(tmp_path, encoding, end):
    lines = ['{"a": "où?"}', '', '{"a": "お"}', '']
    for name in ('a.jsonl', 'A.JSONL', 'a.ndjson'):
        (tmp_path / name).write_bytes(end.join(lines).encode(encoding))
        assert read_text(tmp_path / name) == '\n'.join(lines)
        assert read_json(tmp_path / name) == [{'a': 'où?'}, {'a': 'お'}]


@pytest.mark.parametrize('data', [b'', b'\xef\xbb\xbf', b'\xff\xfe', b'\xfe\xff'])
def test_a_mark_alone_is_no_text(tmp_path, data):
    (tmp_path / 'a.txt').write_bytes(data)
    assert read_text(tmp_path / 'a.txt') == ''


def test_json_lines_end_at_line_feeds_alone(tmp_path):
    path = tmp_path / 'a.jsonl'
    path.write_text('{"a": "one\u2028two"}\n\n[2]\n', 'utf-8')
    assert read_json(path) == [{'a': 'one\u2028two'}, [2]]
    path.write_text('{}\n{\n')
    with pytest.raises(DataError, match=r'a\.jsonl: line 2: not JSON'):
        read_json(path)
