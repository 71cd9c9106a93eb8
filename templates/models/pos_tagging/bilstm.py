"""A bidirectional LSTM over the words of a sentence and the letters of each word, in torch.

Letters tell the tag of words that were never seen in training: "-ing" and "-ly" and a capital mean something. Both
kinds of features meet in one vector for each word; the LSTM adds what stands to its left and right (Plank et al.,
Multilingual Part-of-Speech Tagging with Bidirectional Long Short-Term Memory Models, 2016).
It trains on the GPU that its worker was given, else on the CPU.
"""

import os
import random
from collections import Counter

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from rafiki.model import BaseModel, FixedKnob, FloatKnob, IntegerKnob, PolicyKnob, utils

SEED = 0
PADDING, UNKNOWN, N_SPECIAL = 0, 1, 2  # the first ids of words and of letters
MAX_LETTERS = 16  # of a word: more than that are left out of its middle
NO_TAG = -1  # what padding is tagged with
PATIENCE = 2  # epochs without a better score before an early stop


class BiLstm(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "word_size": IntegerKnob(48, 128, is_exp=True),
            "letter_size": IntegerKnob(8, 32, is_exp=True),
            "letter_filters": IntegerKnob(48, 128, is_exp=True),
            "hidden_size": IntegerKnob(48, 128, is_exp=True),
            "dropout": FloatKnob(0.1, 0.4),
            # How often a word that is rare in training is taken for an unknown one, so that the network learns those.
            "word_dropout": FloatKnob(0.1, 0.4),
            "learning_rate": FloatKnob(7e-3, 2e-2, is_exp=True),
            "batch_size": FixedKnob(16),
            "max_epochs": FixedKnob(10),
            "early_stop": PolicyKnob("EARLY_STOP"),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if "OMP_NUM_THREADS" not in os.environ:
            # Rafiki runs several workers side by side; threads that fight for the same cores slow all of them down.
            torch.set_num_threads(1)

    def train(self, dataset_path, shared_params=None, **train_args):
        corpus = utils.dataset.load_dataset_of_corpus(dataset_path)
        sentences = [([token for token, *_ in sentence], [tags[0] for _, *tags in sentence]) for sentence in corpus]
        self._n_tags = corpus.tag_num_classes[0]
        counts = Counter(token.lower() for tokens, _ in sentences for token in tokens)
        self._words = sorted(counts)
        self._letters = sorted({letter for tokens, _ in sentences for token in tokens for letter in token})
        self._index()
        self._is_rare = torch.tensor([False] * N_SPECIAL + [counts[word] <= 2 for word in self._words])

        torch.manual_seed(SEED)
        random.Random(SEED).shuffle(sentences)
        # An early stop needs sentences that the network has not learned from, to see when it stops getting better.
        n_watched = len(sentences) // 10 if self._knobs["early_stop"] else 0
        self._network = self._build()
        self._fit(sentences[n_watched:], sentences[:n_watched])

    def evaluate(self, dataset_path):
        corpus = utils.dataset.load_dataset_of_corpus(dataset_path)
        return self._accuracy([([token for token, *_ in s], [tags[0] for _, *tags in s]) for s in corpus])

    def predict(self, queries):
        return self._predict_tags(queries)

    def dump_parameters(self):
        weights = {f"weights/{name}": tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()}
        return {
            "n_tags": self._n_tags,
            # Tokens hold no line ends, so one string holds them all.
            "words": "\n".join(self._words),
            "letters": "".join(self._letters),
            **weights,
        }

    def load_parameters(self, params):
        self._n_tags = params["n_tags"]
        self._words, self._letters = params["words"].split("\n"), list(params["letters"])
        self._index()
        self._network = self._build()
        self._network.load_state_dict(
            {name: torch.tensor(params[f"weights/{name}"]) for name in self._network.state_dict()}
        )

    def _index(self):
        self._word_ids = {word: i for i, word in enumerate(self._words, start=N_SPECIAL)}
        self._letter_ids = {letter: i for i, letter in enumerate(self._letters, start=N_SPECIAL)}

    def _build(self):
        return Tagger(len(self._words) + N_SPECIAL, len(self._letters) + N_SPECIAL, self._n_tags, self._knobs).to(
            self._device
        )

    def _encode(self, sentences):
        """Token lists as padded ids: words N x T, letters N x T x MAX_LETTERS; and the lengths, N."""
        words = [torch.tensor([self._word_ids.get(token.lower(), UNKNOWN) for token in s]) for s in sentences]
        letters = [torch.tensor([self._spell(token) for token in s]) for s in sentences]
        lengths = torch.tensor([len(s) for s in sentences])
        return pad_sequence(words, batch_first=True), pad_sequence(letters, batch_first=True), lengths

    def _spell(self, token):
        if len(token) > MAX_LETTERS:
            token = token[: MAX_LETTERS // 2] + token[-MAX_LETTERS // 2 :]
        ids = [self._letter_ids.get(letter, UNKNOWN) for letter in token]
        return ids + [PADDING] * (MAX_LETTERS - len(ids))

    def _fit(self, sentences, watched):
        utils.logger.define_loss_plot()
        n_epochs, batch_size = self._knobs["max_epochs"], self._knobs["batch_size"]
        batches = []
        # Sentences of like length together: less padding to compute.
        sentences = sorted(sentences, key=lambda sentence: len(sentence[0]))
        for start in range(0, len(sentences), batch_size):
            tokens, tags = zip(*sentences[start : start + batch_size], strict=True)
            padded = pad_sequence([torch.tensor(t) for t in tags], batch_first=True, padding_value=NO_TAG)
            batches.append((*self._encode(tokens), padded))

        optimizer = torch.optim.Adam(self._network.parameters(), self._knobs["learning_rate"], betas=(0.9, 0.99))
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._knobs["learning_rate"], total_steps=n_epochs * len(batches)
        )
        loss_of = nn.CrossEntropyLoss(ignore_index=NO_TAG)
        best = utils.torch_training.Best(-1.0)
        training = utils.torch_training.TorchTraining(
            network=self._network, optimizer=optimizer, schedule=schedule, best=best
        )
        for epoch in range(training.resume(), n_epochs):
            self._network.train()
            total = 0.0
            for i in torch.randperm(len(batches)).tolist():
                words, letters, lengths, tags = batches[i]
                is_hidden = self._is_rare[words] & (torch.rand(words.shape) < self._knobs["word_dropout"])
                scores = self._network(words.masked_fill(is_hidden, UNKNOWN), letters, lengths)
                loss = loss_of(scores.flatten(0, 1), tags.to(self._device).flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
                optimizer.step()
                schedule.step()
                total += loss.item()
            utils.logger.log_loss(total / len(batches), epoch)

            if watched:
                accuracy = self._accuracy(watched)
                utils.logger.log(watched_accuracy=accuracy, epoch=epoch)
                if accuracy > best.score:
                    best.keep(accuracy, epoch, self._network)
                elif epoch - best.epoch >= PATIENCE:
                    utils.logger.log(f"Stopped early: no better since epoch {best.epoch}.")
                    break
            training.save(epoch + 1)
        best.restore(self._network)

    def _accuracy(self, sentences):
        """The share of tokens tagged right."""
        tokens, tags = zip(*sentences, strict=True)
        found = self._predict_tags(tokens)
        hits = [a == b for one, other in zip(found, tags, strict=True) for a, b in zip(one, other, strict=True)]
        return sum(hits) / len(hits)

    def _predict_tags(self, sentences, batch_size=64):
        self._network.eval()
        found = [[] for _ in sentences]
        order = sorted((i for i, s in enumerate(sentences) if s), key=lambda i: len(sentences[i]))
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                tags = self._network(*self._encode([sentences[i] for i in part])).argmax(dim=2).tolist()
                for i, row in zip(part, tags, strict=True):
                    found[i] = row[: len(sentences[i])]
        return found


class Tagger(nn.Module):
    """Scores N x T x n_tags from words N x T, letters N x T x MAX_LETTERS and lengths N."""

    def __init__(self, n_words, n_letters, n_tags, knobs):
        super().__init__()
        self.words = nn.Embedding(n_words, knobs["word_size"], padding_idx=PADDING)
        self.letters = nn.Embedding(n_letters, knobs["letter_size"], padding_idx=PADDING)
        self.spelling = nn.Conv1d(knobs["letter_size"], knobs["letter_filters"], 3, padding=1)
        size = knobs["word_size"] + knobs["letter_filters"]
        self.lstm = nn.LSTM(size, knobs["hidden_size"], batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(knobs["dropout"])
        self.out = nn.Linear(2 * knobs["hidden_size"], n_tags)

    def forward(self, words, letters, lengths):
        device = self.out.weight.device
        n, t = words.shape
        spelled = self.letters(letters.to(device).flatten(0, 1)).transpose(1, 2)
        spelled = torch.relu(self.spelling(spelled)).amax(dim=2).view(n, t, -1)
        features = self.dropout(torch.cat([self.words(words.to(device)), spelled], dim=2))
        packed = pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.out(self.dropout(hidden))
