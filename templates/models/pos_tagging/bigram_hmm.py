r"""A hidden Markov model of the first order: the tags of neighbouring tokens explain each other.

Counting trains it, the Viterbi algorithm tags (Jurafsky and Martin, Speech and Language Processing, 3rd ed., chapter
17.4). A token that is not in the training data is judged by its ending and its form, from how the rare tokens of the
training data are tagged (after Brants, TnT, 2000, section 2.3). Numpy alone is needed.
"""

import json

import numpy as np

from rafiki.model import BaseModel, FixedKnob, FloatKnob, IntegerKnob, utils


class BigramHmm(BaseModel):
    """POS_TAGGING."""

    @staticmethod
    def get_knob_config():
        return {
            # Added to each count of one tag after another.
            "transition_smoothing": FloatKnob(1e-3, 10.0, is_exp=True),
            # How many counts the tag of an ending that is one letter shorter weighs.
            "suffix_smoothing": FloatKnob(0.1, 30.0, is_exp=True),
            # A token that occurs at most so often tells how unknown tokens are tagged.
            "rare_count": IntegerKnob(1, 10),
            # How many counts the ending of a known token weighs.
            "token_smoothing": FloatKnob(1e-3, 1.0, is_exp=True),
            "max_suffix": FixedKnob(5),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs

    def train(self, dataset_path, shared_params=None, **train_args):
        dataset = utils.dataset.load_dataset_of_corpus(dataset_path)
        n_tags = dataset.tag_num_classes[0]
        # Row n_tags is the start of a sentence, column n_tags its end.
        transitions = np.full((n_tags + 1, n_tags + 1), self._knobs["transition_smoothing"])
        counts = {}
        for sentence in dataset:
            before = n_tags
            for token, tag in sentence:
                transitions[before, tag] += 1
                counts.setdefault(token, np.zeros(n_tags))[tag] += 1
                before = tag
            transitions[before, n_tags] += 1
        self._transitions = np.log(transitions / transitions.sum(axis=1, keepdims=True))
        self._tokens = {token: i for i, token in enumerate(counts)}
        self._token_counts = np.stack(list(counts.values()))
        self._count_suffixes()
        self._prepare()
        utils.logger.log(f"Counted {len(self._tokens)} different tokens in {len(dataset)} sentences.")

    def _count_suffixes(self):
        n_tags = self._token_counts.shape[1]
        suffixes = {}
        for token, i in self._tokens.items():
            if self._token_counts[i].sum() <= self._knobs["rare_count"]:
                for suffix in self._suffixes_of(token):
                    suffixes.setdefault(suffix, np.zeros(n_tags))
                    suffixes[suffix] += self._token_counts[i]
        self._suffixes = {suffix: i for i, suffix in enumerate(suffixes)}
        self._suffix_counts = np.array(list(suffixes.values())).reshape(len(suffixes), n_tags)

    def evaluate(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_corpus(dataset_path)
        n_right = n_tokens = 0
        for sentence in dataset:
            tokens, tags = zip(*sentence, strict=True)
            n_right += sum(a == b for a, b in zip(self._tag(tokens), tags, strict=True))
            n_tokens += len(tokens)
        return n_right / n_tokens

    def predict(self, queries):
        return [self._tag(tokens) for tokens in queries]

    def dump_parameters(self):
        return {
            "transitions": self._transitions,
            "tokens": json.dumps(list(self._tokens)),
            "token_counts": self._token_counts.astype(np.float32),
            "suffixes": json.dumps(list(self._suffixes)),
            "suffix_counts": self._suffix_counts.astype(np.float32),
        }

    def load_parameters(self, params):
        self._transitions = params["transitions"]
        self._tokens = {token: i for i, token in enumerate(json.loads(params["tokens"]))}
        self._token_counts = params["token_counts"].astype(np.float64)
        self._suffixes = {suffix: i for i, suffix in enumerate(json.loads(params["suffixes"]))}
        self._suffix_counts = params["suffix_counts"].astype(np.float64)
        self._prepare()

    def _prepare(self):
        """The share of each tag, and its logarithm; computed from the counts when they are new."""
        counts = self._token_counts.sum(axis=0)
        self._prior = (counts + 0.1) / (counts + 0.1).sum()
        self._log_prior = np.log(self._prior)
        self._known = {}

    def _suffixes_of(self, token):
        """The form of a token, then with one, two ... of its last letters: each narrower than the one before."""
        form = _form_of(token)
        return [
            form,
            *(f"{form} {token[-n:].lower()}" for n in range(1, 1 + min(self._knobs["max_suffix"], len(token)))),
        ]

    def _emission(self, token):
        """log p(token | tag) for each tag, up to a number that is the same for all tags: by Bayes' rule
        p(tag | token) / p(tag)."""
        found = self._known.get(token)
        if found is not None:
            return found
        shares = self._prior
        weight = self._knobs["suffix_smoothing"]
        for suffix in self._suffixes_of(token):
            i = self._suffixes.get(suffix)
            if i is None:
                break
            counts = self._suffix_counts[i]
            shares = (counts + weight * shares) / (counts.sum() + weight)
        i = self._tokens.get(token)
        if i is None and token.lower() != token:
            i = self._tokens.get(token.lower())
        if i is not None:
            counts, weight = self._token_counts[i], self._knobs["token_smoothing"]
            shares = (counts + weight * shares) / (counts.sum() + weight)
        found = np.log(shares + 1e-12) - self._log_prior
        if len(self._known) < 100_000:
            self._known[token] = found
        return found

    def _tag(self, tokens):
        """The most probable tags of a sentence (Viterbi)."""
        n_tags = len(self._prior)
        between = self._transitions[:n_tags, :n_tags]
        best = self._transitions[n_tags, :n_tags] + self._emission(tokens[0])
        came_from = []
        for token in tokens[1:]:
            paths = best[:, None] + between
            came_from.append(paths.argmax(axis=0))
            best = paths.max(axis=0) + self._emission(token)
        tags = [int((best + self._transitions[:n_tags, n_tags]).argmax())]
        for previous in reversed(came_from):
            tags.append(int(previous[tags[-1]]))
        return tags[::-1]


def _form_of(token):
    """What a token looks like: digits, capitals, signs."""
    if any(c.isdigit() for c in token):
        return "digits"
    if not any(c.isalnum() for c in token):
        return "signs"
    if token.isupper() and len(token) > 1:
        return "capitals"
    return ("capital" if token[0].isupper() else "small") + (" joined" if "-" in token else "")
