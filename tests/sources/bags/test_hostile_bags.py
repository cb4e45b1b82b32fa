"""Bags as an attacker makes them: nothing in them is executed, nothing outside is touched."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from tosa_ros.errors import DataError
from tosa_ros.sources.bags import BagFrames

pytest.importorskip('rosbags')
ENDLESS = 'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(i) FROM n'


@pytest.fixture
def bag(make, frames, write_bag, recording):
    path = write_bag(recording(make, frames), 'sqlite3')
    (path / 'metadata.yaml').unlink()
    [file] = path.glob('*.db3')
    return file


def write_schema(file, rows, drop=''):
    """Writes rows (kind, name, page, sql) into a file's schema, as no DDL would."""
    with sqlite3.connect(file) as database:
        database.execute('PRAGMA writable_schema=ON')
        database.execute('DELETE FROM sqlite_master WHERE name = ? OR ? = "*"', (drop, drop))
        for kind, name, page, sql in rows:
            database.execute(
                'INSERT INTO sqlite_master VALUES (?,?,?,?,?)', (kind, name, name, page, sql)
            )
    database.close()


@pytest.mark.parametrize('cut_off', [True, False])
@pytest.mark.parametrize('kind', ['table', 'index'])
def test_no_statement_of_the_schema_runs(bag, tmp_path, kind, cut_off):
    victim, written = tmp_path / 'victim.db', tmp_path / 'written.db'
    with sqlite3.connect(victim) as database:
        database.execute('CREATE TABLE precious (x)')
        database.execute('INSERT INTO precious VALUES (1)')
    attack = (f"VACUUM INTO '{written}'", f"ATTACH '{victim}' AS v", 'DELETE FROM v.precious')
    write_schema(bag, [(kind, f'a{i}', 0, sql) for i, sql in enumerate(attack)], drop='*')
    if cut_off:
        bag.write_bytes(bag.read_bytes()[:-4096])
    with pytest.raises(DataError, match=r"holds 'a0' .*nothing in them is run"):
        BagFrames(bag)
    assert not written.exists()
    assert database.execute('SELECT count(*) FROM precious').fetchone() == (1,)


@pytest.mark.parametrize(
    ('drop', 'kind', 'sql'),
    [
        ('message_definitions', 'view', f'CREATE VIEW message_definitions AS {ENDLESS}'),
        ('topics', 'table', 'CREATE VIRTUAL TABLE topics USING fts5(id, name, type)'),
        ('', 'trigger', 'CREATE TRIGGER t AFTER INSERT ON messages BEGIN SELECT 1; END'),
    ],
)
def test_a_bag_with_more_than_stored_rows_is_refused(bag, drop, kind, sql):
    write_schema(bag, [(kind, drop or 't', 0, sql)], drop=drop)
    with pytest.raises(DataError, match='more than stored rows'):
        BagFrames(bag)


@pytest.mark.parametrize('cut_off', [True, False])
def test_computed_columns_are_refused(bag, cut_off):
    with sqlite3.connect(bag) as database:
        database.execute('ALTER TABLE topics RENAME COLUMN type TO stored')
        database.execute('ALTER TABLE topics ADD COLUMN type AS (hex(zeroblob(100000000)))')
    if cut_off:
        bag.write_bytes(bag.read_bytes()[:-4096])
    with pytest.raises(DataError, match="column 'type' of table topics is computed"):
        BagFrames(bag)


@pytest.mark.parametrize(
    'sql',
    [
        "ATTACH '{0}' AS other",
        "VACUUM INTO '{0}'",
        'SELECT hex(zeroblob(10))',
        "SELECT load_extension('{0}')",
        "SELECT * FROM pragma_database_list('{0}')",
        'PRAGMA journal_mode=WAL',
        'PRAGMA writable_schema=ON',
        "INSERT INTO schema VALUES (1, '')",
        'CREATE TEMP TABLE t (x)',
        ENDLESS,
    ],
)
def test_a_sealed_connection_only_reads_bags(bag, tmp_path, sql):
    import apsw

    from tosa_ros.sources.bags.sealed import opened

    before = sorted(tmp_path.iterdir())
    connection = opened(bag, cut_off=False)
    assert connection.execute('SELECT count(*) FROM messages').fetchone()[0] > 0
    with pytest.raises(apsw.Error):
        connection.execute(sql.format(tmp_path / 'other.db')).fetchall()
    connection.close()
    assert sorted(tmp_path.iterdir()) == before


def test_a_cut_off_bag_keeps_rows_and_loses_its_schema(bag, frames):
    with sqlite3.connect(bag) as database:
        database.execute('CREATE TABLE other (x DEFAULT (abs(-1)), CHECK (x > 0))')
        database.execute('CREATE INDEX odd ON messages (length(data))')
    database.close()
    bag.write_bytes(bag.read_bytes()[:-4096])
    found = BagFrames(bag)
    assert any('cut off' in note for note in found.notes)
    np.testing.assert_array_equal(found[0].rgb, frames[0].rgb)
    [saved] = found._bag._sources
    names = sqlite3.connect(saved).execute('SELECT name FROM sqlite_master').fetchall()
    assert {name for (name,) in names} == {
        'schema', 'metadata', 'topics', 'message_definitions', 'messages', 'timestamp_idx'
    }  # fmt: skip
