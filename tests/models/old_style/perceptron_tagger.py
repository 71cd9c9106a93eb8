#
# Averaged perceptron POS tagger, greedy left-to-right
# Features more or less follow Honnibal's "A good POS tagger in 200 lines of Python"
#
from __future__ import print_function, division

import json
import random
import time

import numpy as np

from rafiki.model import BaseModel, BaseKnob, FixedKnob, CategoricalKnob, IntegerKnob, FloatKnob, PolicyKnob, \
    KnobConfig, Knobs, Params, utils
from rafiki.model import logger

BOS, BOS2, EOS = '-BOS-', '-BOS2-', '-EOS-'
RARE_DIGITS = '!DIGITS'
RARE_YEAR = '!YEAR'

# token -> normalized token, shared by all models in the process
_NORM_CACHE = {}
_num_models = 0


def normalize(token):
    try:
        return _NORM_CACHE[token]
    except KeyError:
        pass

    if token.isdigit() and len(token) == 4:
        norm = RARE_YEAR
    elif token[:1].isdigit():
        norm = RARE_DIGITS
    else:
        norm = token.lower()

    if len(_NORM_CACHE) < 200000:
        _NORM_CACHE[token] = norm
    return norm


class PerceptronTagger(BaseModel):

    @staticmethod
    def get_knob_config():
        return {
            'epochs': IntegerKnob(3, 8),
            'suffix_len': CategoricalKnob([2, 3, 4]),
            'use_context': CategoricalKnob([True, False]),
            'dropout': FloatKnob(1e-3, 1e-1, is_exp=True),
            'seed': FixedKnob(1234),
            'quick': PolicyKnob('EARLY_STOP'),
        }

    def __init__(self, **knobs):
        super(PerceptronTagger, self).__init__(**knobs)
        global _num_models
        _num_models += 1
        self._id = _num_models
        self._knobs = knobs
        self._feats = {}  # feature name -> row in the weights
        self._weights = None
        self._num_tags = 0

    def train(self, dataset_path, shared_params=None, **train_args):
        ds = utils.dataset.load_dataset_of_corpus(dataset_path)
        self._num_tags = ds.tag_num_classes[0]  # only 1 tag column for POS tagging
        logger.log('Model #%d: %d sentences, longest is %d, %d tags'
                   % (self._id, ds.size, ds.max_sent_len, self._num_tags))

        # Look up the features of all tokens beforehand, as only those on previous tags change
        data = []
        for sent in ds:
            tokens = [tok for (tok, _) in sent]
            tags = [tag for (_, tag) in sent]
            rows = [[self._row(f, True) for f in feats] for feats in self._static_features(tokens)]
            data.append((rows, tags))
        # + rows for tag history
        for a in range(-1, self._num_tags):
            self._row('t-1=%d' % a, True)
            for b in range(-1, self._num_tags):
                self._row('t-2=%d,%d' % (b, a), True)

        shape = (len(self._feats), self._num_tags)
        w = np.zeros(shape)
        acc = np.zeros(shape)    # step-weighted sum of updates, for averaging
        step = 1
        rng = random.Random(self._knobs['seed'])
        epochs = self._knobs['epochs']
        if self._knobs.get('quick'):
            epochs = min(epochs, 3)
        drop = self._knobs['dropout']

        logger.define_loss_plot()
        for epoch in range(epochs):
            start = time.time()
            rng.shuffle(data)
            wrong = total = 0
            for rows, tags in data:
                p1 = p2 = -1
                for r, gold in zip(rows, tags):
                    r = r + self._history_rows(p1, p2)
                    # don't lean too much on the word itself (1st row), or unknown words do badly
                    if rng.random() < drop:
                        r = r[1:]
                    guess = int(w[r].sum(axis=0).argmax())
                    if guess != gold:
                        wrong += 1
                        w[r, gold] += 1
                        w[r, guess] -= 1
                        acc[r, gold] += step
                        acc[r, guess] -= step
                    step += 1
                    total += 1
                    p2, p1 = p1, guess
            loss = np.float64(wrong) / max(total, 1)
            logger.log_loss(loss, epoch)
            logger.log('epoch %d/%d: %.4f wrong, took %.1fs' % (epoch + 1, epochs, loss, time.time() - start))

        self._weights = w - acc / step

    def evaluate(self, dataset_path):
        ds = utils.dataset.load_dataset_of_corpus(dataset_path)
        sents = list(ds)
        preds = self.predict([[x[0] for x in sent] for sent in sents])
        hits = []
        for sent, pred in zip(sents, preds):
            hits.extend([p == x[1] for x, p in zip(sent, pred)])
        return np.mean(hits)

    def predict(self, queries):
        return [self._tag(tokens) for tokens in queries]

    def dump_parameters(self):
        # Most weights are 0, keep only the others
        weights = {}
        for feat, row in self._feats.items():
            nonzero = np.nonzero(self._weights[row])[0]
            if len(nonzero) > 0:
                weights[feat] = [[int(t), round(float(self._weights[row, t]), 4)] for t in nonzero]
        return {
            'weights': json.dumps(weights),
            'num_tags': self._num_tags,
            'version': 2,
        }

    def load_parameters(self, params):
        self._num_tags = params['num_tags']
        weights = json.loads(params['weights'])
        self._feats = {}
        self._weights = np.zeros((len(weights), self._num_tags))
        for i, (feat, pairs) in enumerate(weights.items()):
            self._feats[feat] = i
            for (t, value) in pairs:
                self._weights[i, t] = value

    def destroy(self):
        global _num_models
        _num_models -= 1
        self._weights = None
        self._feats = {}

    def _tag(self, tokens):
        tags = []
        p1 = p2 = -1
        for feats in self._static_features(tokens):
            rows = [self._row(f) for f in feats]
            rows = [r for r in rows if r is not None] + self._history_rows(p1, p2)
            tag = int(self._weights[rows].sum(axis=0).argmax()) if rows else 0
            tags.append(tag)
            p2, p1 = p1, tag
        return tags

    def _row(self, feat, add=False):
        if add and feat not in self._feats:
            self._feats[feat] = len(self._feats)
        return self._feats.get(feat)

    def _history_rows(self, p1, p2):
        rows = [self._row('t-1=%d' % p1), self._row('t-2=%d,%d' % (p2, p1))]
        return [r for r in rows if r is not None]

    def _static_features(self, tokens):
        n = self._knobs['suffix_len']
        ctx = [BOS2, BOS] + [normalize(t) for t in tokens] + [EOS, EOS]
        for i, token in enumerate(tokens):
            word = ctx[i + 2]
            feats = ['w=%s' % word, 'bias']
            for k in range(1, n + 1):
                feats.append('suf%d=%s' % (k, word[-k:]))
            feats.append('pre=%s' % word[:1])
            feats.append('shape=%d%d%d%d' % (token[:1].isupper(), i == 0, token.isupper(), '-' in token))
            feats.append('w-1=%s' % ctx[i + 1])
            feats.append('w+1=%s' % ctx[i + 3])
            if self._knobs['use_context']:
                feats.append('w-2=%s' % ctx[i])
                feats.append('w+2=%s' % ctx[i + 4] if i + 4 < len(ctx) else 'w+2=')
                feats.append('suf-1=%s' % ctx[i + 1][-3:])
                feats.append('suf+1=%s' % ctx[i + 3][-3:])
            yield feats
