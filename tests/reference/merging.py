"""The merging methods once more, slow and obvious: loops over lists of Python floats.

A token is a dict: its vector, key, size, the patches it stands for, and where it is. The
package is tested against this; it shares no code with it.
"""

from __future__ import annotations

import math


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def norm(a):
    return math.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / (max(norm(a), 1e-12) * max(norm(b), 1e-12))


def start(vectors, places=None):
    """Tokens before any merge; places: a code or surface per patch, None where unknown."""
    tokens = []
    for patch, vector in enumerate(vectors):
        place = None if places is None else places[patch]
        tokens.append(
            {
                'x': list(vector),
                'size': 1.0,
                'patches': [patch],
                'places': [] if place is None else [place],
            }
        )
    return tokens


def weighted(vectors, weights):
    total = sum(weights)
    return [
        sum(w * v[i] for v, w in zip(vectors, weights, strict=True)) / total
        for i in range(len(vectors[0]))
    ]


def spatial_similarity(kind, these, those, length_scale_m=0.15):
    """Of two tokens' places: codes, or surfaces (x, y, z, normal)."""
    if kind != 'metric':
        a, b = (weighted(places, [1.0] * len(places)) for places in (these, those))
        return round(cosine(a, b), 4)
    total = 0.0
    for a in these:
        for b in those:
            between = [q - p for p, q in zip(a[:3], b[:3], strict=True)]
            total += dot(a[3:], between) ** 2 + dot(b[3:], between) ** 2
            total += 0.05**2 * dot(between, between)
    return 1 / (1 + total / (len(these) * len(those)) / length_scale_m**2)


def bipartite_pairs(tokens, score, r, bonus=None):
    """[(removed, target)]: even tokens pick the best odd one; the r strongest pairs."""
    edges = []
    for i, a in enumerate(range(0, len(tokens), 2)):
        best = None
        for b in range(1, len(tokens), 2):
            s = score(tokens[a], tokens[b])
            if best is None or s > best[0]:
                best = (s, b)
        edges.append((best[0] + (bonus[i] if bonus else 0.0), a, best[1]))
    edges.sort(key=lambda edge: (-edge[0], edge[1]))
    return [(a, b) for _, a, b in edges[:r]]


def spatial_energies(kind, tokens):
    """Of even tokens: mean similarity to the odd ones, 0 to those without a place."""
    energies = []
    for a in tokens[::2]:
        near = 0.0
        for b in tokens[1::2]:
            if a['places'] and b['places']:
                near += spatial_similarity(kind, a['places'], b['places'])
        energies.append(near / len(tokens[1::2]))
    mean = sum(energies) / len(energies)
    return [e if t['places'] else mean for e, t in zip(energies, tokens[::2], strict=True)]


def energy_pairs(tokens, r, margin):
    def elu(v):
        return v if v > 0 else math.exp(v) - 1

    energies = [
        sum(elu(cosine(t['key'], u['key']) - margin) for u in tokens) / len(tokens) for t in tokens
    ]
    order = sorted(range(len(tokens)), key=lambda i: (-energies[i], i))[: 2 * r]
    pairs = []
    for a in order[::2]:
        best = None
        for b in order[1::2]:
            s = cosine(tokens[a]['key'], tokens[b]['key'])
            if best is None or s > best[0]:
                best = (s, b)
        pairs.append((a, best[1]))
    return pairs


def fuse(group, how):
    vectors, sizes = [t['x'] for t in group], [t['size'] for t in group]
    mean = weighted(vectors, sizes)
    if how == 'mlerp':
        longest = max(norm(v) for v in vectors)
        mean = [m * longest / norm(mean) for m in mean]
    return {
        'x': mean,
        'key': weighted([t['key'] for t in group], sizes),
        'size': sum(sizes),
        'patches': sorted(p for t in group for p in t['patches']),
        'places': [place for t in group for place in t['places']],
    }


def apply(tokens, pairs, how):
    """Tokens after the merge, in order; how: 'average', 'mlerp' or 'prune'."""
    removed = {a for a, _ in pairs}
    merged = []
    for i, token in enumerate(tokens):
        if i in removed:
            continue
        group = [token] + [tokens[a] for a, b in pairs if b == i]
        merged.append(token if how == 'prune' or len(group) == 1 else fuse(group, how))
    return merged


def layer(tokens, keys, method, remove, index, layers, kind=None):
    """One layer's merge of `remove` tokens; keys: a vector a token."""
    for token, key in zip(tokens, keys, strict=True):
        token['key'] = list(key)
    while remove > 0:
        r = min(remove, len(tokens) // 2)
        name = type(method).__name__
        how = 'average'
        if name == 'PiToMe':
            pairs = energy_pairs(tokens, r, method.margin * (1 - index / layers))
        else:
            alpha = 1.0
            if name == 'ToSA' and kind is not None:
                depth = index / max(layers - 1, 1)
                named = {'increase': depth, 'uniform': 0.5, 'decrease': 1 - depth, 'spatial': 0.0}
                alpha = (
                    named[method.alpha] if isinstance(method.alpha, str) else method.alpha[index]
                )

            def score(a, b, alpha=alpha):
                s = cosine(a['key'], b['key'])
                if alpha == 1.0 or not a['places'] or not b['places']:
                    return s
                near = spatial_similarity(kind, a['places'], b['places'])
                alpha = max(alpha, 1e-5)
                return alpha * s + (1 - alpha) * near

            bonus = None
            if name == 'ToSA' and kind == 'metric':
                bonus = [method.energy * e for e in spatial_energies(kind, tokens)]
            pairs = bipartite_pairs(tokens, score, r, bonus)
            if name == 'ToFu':
                prune = layers // 2 if method.prune_layers is None else method.prune_layers
                how = 'prune' if index < prune else 'mlerp'
        tokens = apply(tokens, pairs, how)
        remove -= r
    return tokens


def raster(tokens):
    return sorted(tokens, key=lambda t: t['patches'][0])
