from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    GenerationConfig,
    LlavaOnevisionForConditionalGeneration,
)

from tosa_ros.cli.main import build_parser
from tosa_ros.errors import ModelError, TosaError
from tosa_ros.training.export import export_vlm
from tosa_ros.training.packing import exactly_right, tower_tokens
from tosa_ros.training.shards import Source, open_shard, shard_path


def tosa(*arguments: str) -> int:
    args = build_parser('train').parse_args(arguments)
    return args.run(args)


@pytest.fixture(scope='module')
def exported(tmp_path_factory, recipe, data):
    from tosa_ros.training.embedded import trainer_of

    folder = tmp_path_factory.mktemp('export')
    trainer = trainer_of(recipe, folder / 'state', data, compiled=False)
    for parameter in trainer.model.parameters():  # so that its answers differ from each other
        torch.nn.init.normal_(parameter, std=0.2)
    trainer.save()
    return trainer, export_vlm(trainer.model, trainer.tokenizer, folder / 'vlm', torch.float32)


def test_transformers_alone_gives_the_trainers_answers(exported, data):
    trainer, folder = exported
    model = LlavaOnevisionForConditionalGeneration.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    settings = json.loads((folder / 'preprocessor_config.json').read_text())
    mean, std = np.array(settings['image_mean']), np.array(settings['image_std'])
    shard = open_shard(shard_path(data, Source('single', 'val', shard=8), 0))
    answers = set()
    for row in range(4):
        text = shard.questions[row][0][0]
        content = [{'type': 'image'}, {'type': 'text', 'text': text}]
        prompt = tokenizer.apply_chat_template(
            [{'role': 'user', 'content': content}], tokenize=False, add_generation_prompt=True
        )
        prompt = prompt.replace('<image>', '<image>' * 257)
        ids = tokenizer(prompt, return_tensors='pt').input_ids
        pixels = torch.tensor((shard.rgb[row, 0] / 255 - mean) / std).float().permute(2, 0, 1)
        with torch.no_grad():
            out = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values=pixels[None, None],
                image_sizes=torch.tensor([[128, 128]]),
                batch_num_images=torch.tensor([2]),  # as among several: one tile an image
                do_sample=False,
                max_new_tokens=4,
            )[0, ids.shape[1] :]
        answers.add(tuple(out.tolist()))
        batch = trainer._of(
            trainer._reader(Source('single', 'val', shard=8)),
            np.array([row]), np.random.default_rng(0), lambda kind: 1.0,
        )  # fmt: skip
        before, between = '\n', '<|im_end|><|im_start|>assistant\n'
        asked = tokenizer(before + text + between, add_special_tokens=False).input_ids
        sequence = [*asked, *out.tolist()]
        batch.questions.zero_()
        batch.questions[0, 0, : len(sequence)] = torch.tensor(sequence)
        batch.answers[0, 0] = len(asked) + torch.arange(batch.answers.shape[-1])
        batch.lengths[0, 0] = len(sequence)
        with torch.no_grad():
            tower = tower_tokens(trainer.model, batch.views)
            logits, targets = trainer._answers(batch, trainer._hidden(batch, tower))
        assert exactly_right(logits, targets)[0, 0]
    assert len(answers) > 1


def test_folder_is_a_whole_onevision_checkpoint(exported):
    _, folder = exported
    config = json.loads((folder / 'config.json').read_text())
    assert config['architectures'] == ['LlavaOnevisionForConditionalGeneration']
    assert config['vision_config']['model_type'] == 'siglip_vision_model'
    assert config['text_config']['model_type'] == 'qwen2'
    assert config['image_grid_pinpoints'] == [[128, 128]]
    assert config['trained_frames'] == max(exported[0].recipe.frames)
    assert GenerationConfig.from_pretrained(folder).eos_token_id == AutoTokenizer.from_pretrained(
        folder
    ).convert_tokens_to_ids('<|im_end|>')
    processor = AutoImageProcessor.from_pretrained(folder, backend='pil')
    assert processor.size['height'] == 128
    assert {p.name for p in folder.iterdir()} >= {'model.safetensors', 'tokenizer.json'}


def test_export_does_not_write_over_other_files(exported, tmp_path):
    trainer, _ = exported
    (tmp_path / 'thesis.txt').write_text('mine')
    with pytest.raises(ModelError, match='other files'):
        export_vlm(trainer.model, trainer.tokenizer, tmp_path)
    assert (tmp_path / 'thesis.txt').read_text() == 'mine'


def test_command_exports_from_the_latest_state(exported, tmp_path):
    trainer, _ = exported
    target = tmp_path / 'again'
    assert tosa('train', '--out', str(trainer.out), '--export', str(target)) == 0
    model, told = LlavaOnevisionForConditionalGeneration.from_pretrained(
        target, output_loading_info=True
    )
    assert not told['missing_keys']
    with safe_open(target / 'model.safetensors', 'pt') as file:
        towers = [name for name in file.keys() if name.startswith('vision_tower.')]  # noqa: SIM118
    assert towers
    assert all(name.startswith('vision_tower.vision_model.') for name in towers)
    assert model.dtype == torch.bfloat16
    saved = trainer.model.state_dict()['model.image_newline'].bfloat16()
    assert torch.equal(model.model.image_newline, saved)


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        (['--export', 'x'], 'train first'),
        (['--minutes', '0'], 'minutes: 0'),
        (['--threads', '0'], 'threads: 0'),
        (['--steps', '0'], 'steps: 0'),
    ],
)
def test_bad_input_is_one_line(tmp_path, extra, message):
    with pytest.raises(TosaError, match=message) as caught:
        tosa('train', '--out', str(tmp_path / 'none'), *extra)
    assert '\n' not in str(caught.value)
