"""The names of tensors in LLaVA checkpoints that transformers 4, 5 and vLLM all read.

Towers of SigLIP and CLIP lie one name deeper (`vision_tower.vision_model.`) in every checkpoint
that was published with transformers 4. transformers 5 reads those, but writes shorter names, which
transformers 4 takes for a tower without weights, and vLLM refuses.
"""

from __future__ import annotations

import json
from pathlib import Path

DEEPER = ('siglip_vision_model', 'clip_vision_model')
SHORT, LONG = 'vision_tower.', 'vision_tower.vision_model.'


def use_published_names(folder: Path) -> None:
    """Renames a written checkpoint's tensors, where its tower is one of those."""
    config = json.loads((folder / 'config.json').read_text('utf-8'))
    kind = config.get('vision_config', {}).get('model_type')
    if not (config['model_type'].startswith('llava') and kind in DEEPER):
        return
    from safetensors import safe_open
    from safetensors.torch import save_file

    for path in sorted(folder.glob('*.safetensors')):
        with safe_open(path, 'pt') as file:
            about = file.metadata()
            tensors = {published(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, about)
    index = folder / 'model.safetensors.index.json'
    if index.exists():
        told = json.loads(index.read_text('utf-8'))
        told['weight_map'] = {published(name): f for name, f in told['weight_map'].items()}
        index.write_text(json.dumps(told, indent=2) + '\n', 'utf-8')


def published(name: str) -> str:
    """A tensor's name as published checkpoints have it."""
    head, short, rest = name.partition(SHORT)
    if not short or head not in ('', 'model.') or name.startswith(head + LONG):
        return name
    return head + LONG + rest
