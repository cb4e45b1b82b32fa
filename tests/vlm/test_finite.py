"""Numbers that are not finite are an error that names type and layer, never an empty answer."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from tosa_ros.cli.main import main
from tosa_ros.errors import ModelError
from tosa_ros.merging import NoMerging, ToMe
from tosa_ros.vlm import Answerer, Answering, VisionEncoder
from tosa_ros.vlm.finite import first_not_finite, is_finite

QUESTION = 'How many mugs are on the desk?'


def submodule(model, end):
    """The one module whose name ends so."""
    (found,) = [module for name, module in model.named_modules() if name.endswith(end)]
    return found


def make_loud(model, layer, names):
    """Lets a layer's MLP reach what float16 cannot hold, and float32 easily can."""
    for name in names:
        submodule(model, f'{layer}.mlp.{name}').weight.data.mul_(3000)


@pytest.fixture
def tokens(checkpoint, make_frame):
    return VisionEncoder.from_pretrained(checkpoint, dtype=torch.float32).encode([make_frame()])


def loud_answerer(checkpoint, dtype):
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    make_loud(answerer.model, 'layers.1', ('gate_proj', 'up_proj', 'down_proj'))
    answerer.model.to(dtype)
    return answerer


def test_a_language_model_that_overflows_its_type(checkpoint, tokens):
    assert loud_answerer(checkpoint, torch.float32).answer(tokens, QUESTION).new_tokens > 0
    answerer = loud_answerer(checkpoint, torch.float16)
    message = (
        r'the language model computes numbers that are not finite in float16, first in '
        r'[\w.]*layers\.1\.mlp\.down_proj; .*try --dtype float32 or --dtype bfloat16'
    )
    with pytest.raises(ModelError, match=message):
        answerer.answer(tokens, QUESTION)
    with pytest.raises(ModelError, match=message):
        list(answerer.stream(tokens, QUESTION))
    with pytest.raises(ModelError, match=message):
        answerer.answer_batch([(tokens, QUESTION), (tokens, 'Why?')])


def test_a_vision_half_that_overflows_its_type(checkpoint, make_frame):
    for method in (NoMerging(), ToMe(keep=0.5)):
        encoder = VisionEncoder.from_pretrained(checkpoint, merging=method, dtype=torch.float32)
        make_loud(encoder.half, 'layers.0', ('fc1', 'fc2'))
        assert is_finite(encoder.encode([make_frame()])[0].embeddings)
        encoder.half.to(torch.float16)
        message = (
            r'the vision half computes numbers that are not finite in float16, first in '
            r'[\w.]*layers\.0\.mlp\.fc2; .*try --dtype float32'
        )
        with pytest.raises(ModelError, match=message):
            encoder.encode([make_frame()])


def test_damaged_weights_are_no_matter_of_the_type(checkpoint, tokens, make_frame):
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    submodule(answerer.model, 'layers.1.mlp.up_proj').weight.data[3, 4] = float('nan')
    message = (
        r'in float32, from the weights of [\w.]*layers\.1\.mlp\.up_proj; the checkpoint is da'
    )
    with pytest.raises(ModelError, match=message):
        answerer.answer(tokens, QUESTION)


def test_tokens_that_came_not_finite_are_the_vision_halfs(checkpoint, tokens):
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.inference_mode():
        tokens[0].embeddings[5, 0] = float('inf')
    with pytest.raises(ModelError, match='visual tokens that are not finite came to the language'):
        answerer.answer(tokens, QUESTION)


def test_nothing_of_a_failed_answer_is_kept(checkpoint, tokens):
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    wanted = answerer.answer(tokens, QUESTION).text
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    weights = submodule(answerer.model, 'layers.0.mlp.up_proj').weight.data
    kept = weights.clone()
    weights.fill_(float('nan'))
    with pytest.raises(ModelError):
        answerer.answer(tokens, QUESTION)
    weights.copy_(kept)
    assert answerer.answer(tokens, QUESTION).text == wanted


def test_it_may_begin_with_a_later_word(checkpoint, tokens):
    """The prompt alone is well: only behind the words that were said is it found again."""
    answerer = Answerer.from_pretrained(checkpoint, dtype=torch.float32)
    said = answerer.answer_batch([(tokens, QUESTION)], max_new_tokens=2)[0]
    if said.new_tokens < 2:
        pytest.skip('this random model ends at once')
    prompt, said = answerer.builder.rows(tokens, QUESTION), answerer._utterance(Answering())
    steps = answerer.decoder.steps([prompt], [said], 2)
    with torch.inference_mode():
        next(steps)
        steps.close()
        first = said.ids[0]
        ids = answerer.prompt.ids(QUESTION, 1)
        if first in ids:
            pytest.skip('the first word is one of the prompt')
        answerer.model.get_input_embeddings().weight[first] = float('nan')
    with pytest.raises(ModelError, match='not finite in float32'):
        answerer.answer(tokens, QUESTION, max_new_tokens=3)


def test_the_first_module_is_found_and_the_hooks_are_gone():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    run = lambda: model(torch.ones(1, 2))  # noqa: E731
    assert first_not_finite(model, run) is None
    model[2].weight.data.fill_(float('inf'))
    assert first_not_finite(model, run) == '2'
    assert not any(module._forward_hooks for module in model.modules())


def test_a_sum_that_overflows_is_no_reason():
    assert is_finite(torch.full((4,), 60000.0, dtype=torch.float16))
    for bad in (float('nan'), float('inf'), -float('inf')):
        assert not is_finite(torch.tensor([1.0, bad]))
    assert not is_finite(torch.tensor([float('inf'), -float('inf')]))


def test_the_command_says_so(checkpoints, tmp_path, make_frame, capsys):
    from PIL import Image

    for file in checkpoints['llava_onevision'].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / 'model.safetensors')
    (name,) = [key for key in weights if key.endswith('layers.1.mlp.up_proj.weight')]
    weights[name].fill_(float('nan'))
    save_file(weights, tmp_path / 'model.safetensors', metadata={'format': 'pt'})
    picture = tmp_path / 'a.png'
    Image.fromarray(make_frame().rgb).save(picture)
    assert main(['ask', str(picture), 'What?', '--model', str(tmp_path)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(
        'tosa ask: error: the language model computes numbers that are not fin'
    )
