"""The tables come from answers that the pipeline gives, given once."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlavaForConditionalGeneration
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

pytest.importorskip('cv2')

from benchmarks.real import answers, nyu
from benchmarks.real.asking import Asker, Model, Run, asked_of_test, majority
from benchmarks.real.contenders import OURS, contenders
from benchmarks.real.nyu import daquar
from benchmarks.real.small_llava import Shape, build, export, load_tower, with_tower
from benchmarks.real.vocabulary import word_tokenizer
from tosa_ros.errors import DataError
from tosa_ros.frames import Frame
from tosa_ros.merging import ToMe, ToSA
from tosa_ros.pipeline import VqaPipeline

DOCUMENT = Path(__file__).parents[3] / 'docs' / 'quality.md'
METHODS = {c.name: c for c in contenders([0.25])}


@pytest.fixture(scope='module')
def checkpoint(nyuv2, tower, tmp_path_factory):
    """An untrained model of the little tower, which says something for every question."""
    loaded = load_tower(str(tower), 112)
    shown = asked_of_test(nyuv2, 0, 12)
    tokenizer = word_tokenizer([one for some in shown for one in some.asked] * 2)
    torch.manual_seed(4)
    shape = Shape(side=112, width=32, layers=2, heads=2, mlp=48)
    model = with_tower(build(loaded.config, shape, tokenizer), loaded)
    with torch.no_grad():
        for part in (model.model.language_model.layers, model.model.multi_modal_projector):
            for weight in part.parameters():
                weight.normal_(0, 0.5)  # loud enough that pictures and words make a difference
    return export(model, tokenizer, tmp_path_factory.mktemp('model') / 'checkpoint')


@pytest.fixture
def asker(nyuv2, checkpoint, tmp_path):
    return Asker(nyuv2, tmp_path, Model(str(checkpoint)), asked_of_test(nyuv2, 3, 6))


@pytest.mark.parametrize(
    ('name', 'method', 'depth'),
    [('ToSA', ToSA(keep=0.25), 'sensor'), ('ToSA', ToSA(keep=0.25), 'none'),
     ('ToMe', ToMe(keep=0.25), 'sensor')],
)  # fmt: skip
def test_answers_are_the_pipelines(asker, checkpoint, nyuv2, name, method, depth):
    pipeline = VqaPipeline.from_pretrained(checkpoint, merging=method, dtype=torch.float32)
    said = iter(asker.of(Run(METHODS[name], depth)).answers)
    given = set()
    for shown in asker.shown:
        frame = nyu.scene(nyuv2, shown.number).frame()
        frame = frame if depth == 'sensor' else frame.without_depth()
        for one in shown.asked:
            wanted = pipeline.ask(frame, one.question, max_new_tokens=16).text
            assert next(said) == wanted
            given.add(wanted)
    assert len(given) > 3, 'a model that always says the same compares nothing'


@torch.inference_mode()
def test_unmerged_answers_are_those_of_transformers_alone(asker, checkpoint, nyuv2):
    """LLaVA as transformers loads and asks it, with nothing of this package in between."""
    model = LlavaForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    pictures = LlavaImageProcessorPil.from_pretrained(checkpoint)
    said = iter(asker.of(Run(METHODS['none'])).answers)
    for shown in asker.shown:
        rgb = nyu.scene(nyuv2, shown.number).rgb
        pixels = pictures(images=rgb, return_tensors='pt')['pixel_values']
        for one in shown.asked:
            text = f'<|user|>{"<image>" * 64}{one.question}<|answer|>'
            ids = tokenizer(text, return_tensors='pt')['input_ids']
            out = model.generate(
                input_ids=ids, pixel_values=pixels, max_new_tokens=16, do_sample=False
            )
            wanted = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
            assert next(said) == wanted.strip()


def test_a_stopped_run_goes_on_where_it_stopped(asker, monkeypatch):
    run = Run(METHODS['ToMe'])
    whole = asker.of(run)
    assert whole.tokens == 16
    (path,) = asker.work.glob('*.jsonl')
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:9])
    asked = []
    ask = asker._ask
    monkeypatch.setattr(asker, '_ask', lambda r, s: asked.append(s.number) or ask(r, s))
    assert asker.of(run) == whole or vars(asker.of(run)) == vars(whole)
    assert asked == [one.number for one in asker.shown[1:]]


def test_blind_sees_nothing(asker):
    said = asker.of(Run(METHODS['none'], 'none', blind=True))
    by_question: dict[str, set[str]] = {}
    for one, answer in zip(asker.asked, said.answers, strict=True):
        by_question.setdefault(one.question, set()).add(answer)
    assert all(len(answers) == 1 for answers in by_question.values())
    black = Frame(np.zeros((96, 128, 3), np.uint8))
    tokens = asker.model.tokens(black, METHODS['none'])
    asked = list(by_question)
    assert asker.model.answers(tokens, asked) == [*(said for (said,) in by_question.values())]
    assert len(by_question) < len(asker.asked), 'some question is asked of two pictures'


def test_questions_do_not_depend_on_how_many_frames_are_asked(nyuv2):
    few, many = asked_of_test(nyuv2, 2, 6), asked_of_test(nyuv2, 0, 6)
    every = {one.number: one.asked for one in many}
    assert [one.number for one in few] == [49, 52]
    assert all(every[one.number] == one.asked for one in few)
    assert all(one.asked[:2] == tuple(daquar(nyuv2, 'test')[one.number]) for one in many)


def test_majority_is_of_the_training_split(nyuv2):
    human = [one for some in daquar(nyuv2, 'test').values() for one in some]
    said = majority(nyuv2, human)
    counting = {s for s, one in zip(said, human, strict=True) if one.kind == 'daquar counting'}
    assert counting == {'2'}


def _run(monkeypatch, capsys, *words):
    monkeypatch.setattr(sys, 'argv', ['answers', *map(str, words), '--json'])
    assert answers.main() == 0
    return json.loads(capsys.readouterr().out)


def test_tables_are_filled_and_answers_kept(nyuv2, checkpoint, tmp_path, monkeypatch, capsys):
    (tmp_path / 'quality.md').write_text(DOCUMENT.read_text())
    words = ('--nyuv2', nyuv2, '--model', checkpoint, '--work', tmp_path / 'work',
             '--keep', 0.25, '--frames', 3, '--made', 6)  # fmt: skip
    rows = _run(monkeypatch, capsys, *words, '--docs', tmp_path)
    by_method, by_kind = rows['answers-by-method'], rows['answers-by-kind']
    labels = [(row['method'], row['keep'], row['depth']) for row in by_method]
    assert labels[:3] == [
        ('majority of the kind', '', ''), ('none', 1.0, 'sensor'), ('blind', 1.0, 'none')
    ]  # fmt: skip
    assert (OURS, 0.25, 'sensor') in labels
    assert (OURS, 0.25, 'none') in labels
    assert ('ToMe', 0.25, 'none') not in labels, 'it reads no depth'
    tome = next(row for row in by_method if row['method'] == 'ToMe')
    assert 'by picture' in tome['ToSA against it']
    assert {row['kind'] for row in by_kind} >= {'daquar object', 'is there', 'all'}
    text = (tmp_path / 'quality.md').read_text()
    assert '| 0.25 | ToMe | sensor | 16 |' in text
    assert 'NYUv2 test frames' in text

    # A second run asks nothing: its answers are those kept.
    monkeypatch.setattr(Model, 'answers', None)
    assert _run(monkeypatch, capsys, *words) == rows


def test_without_wordnet_the_column_says_so(nyuv2, checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(answers, '_alike', lambda: None)
    words = ('--nyuv2', nyuv2, '--model', checkpoint, '--work', tmp_path, '--keep', 0.25,
             '--frames', 2, '--only', 'none')  # fmt: skip
    rows = _run(monkeypatch, capsys, *words)['answers-by-method']
    assert {row['WUPS@0.9'] for row in rows} == {'no WordNet here'}


def test_names_of_no_contender_are_refused():
    every = list(METHODS.values())
    assert [c.name for c in answers.named(every, ['ToMe'])] == ['none', 'ToMe']
    assert answers.named(every, None) == every
    with pytest.raises(DataError, match="'ToMeToo'; wanted some of none, ToMe"):
        answers.named(every, ['ToMe', 'ToMeToo'])


def test_a_missing_folder_is_one_line(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        sys, 'argv', ['answers', '--nyuv2', str(tmp_path), '--model', str(checkpoint)]
    )
    assert answers.main() == 2
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith('answers: ')
