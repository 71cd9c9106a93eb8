"""A small network that spells out what it hears, in torch: a convolution, a bidirectional GRU, and CTC.

It hears a log-mel spectrogram, 100 columns a second, and says for every second column which letter, or none, is being
spoken. Connectionist temporal classification (Graves et al., 2006) learns that from transcripts alone, without knowing
when each letter is spoken. It trains on the GPU that its worker was given, else on the CPU.
"""

import base64
import io
import math
import os
import tempfile
import wave

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from rafiki.model import BaseModel, FixedKnob, FloatKnob, IntegerKnob, utils

SEED = 0
LETTERS = " 'abcdefghijklmnopqrstuvwxyz"  # class 0 is CTC's blank: "no new letter here"
SAMPLE_RATE_HZ = 16_000
WINDOW, STEP, N_FFT = 400, 160, 512  # samples: windows of 25 ms, one every 10 ms
SILENCE_S = 0.1  # put before and after a recording: CTC needs at least one time step a letter
N_MELS = 40
MAX_WORDS = 1000  # as many known words are compared with; a larger vocabulary takes a language model


class SpeechCtc(BaseModel):
    @staticmethod
    def get_knob_config():
        return {
            "filters": IntegerKnob(48, 128, is_exp=True),
            "hidden_size": IntegerKnob(96, 256, is_exp=True),
            "layers": IntegerKnob(1, 2),
            "dropout": FloatKnob(0.0, 0.3),
            "learning_rate": FloatKnob(3e-3, 1e-2, is_exp=True),
            "batch_size": FixedKnob(16),
            "max_epochs": FixedKnob(15),
            # Whether a word that training never heard is taken for the known one with the nearest spelling.
            "known_words_only": FixedKnob(True),
        }

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self._knobs = knobs
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if "OMP_NUM_THREADS" not in os.environ:
            # Rafiki runs several workers side by side; threads that fight for the same cores slow all of them down.
            torch.set_num_threads(1)

    def train(self, dataset_path, shared_params=None, **train_args):
        features, transcripts = _load(dataset_path)
        frames = torch.cat(features)
        self._mean, self._std = frames.mean(dim=0), frames.std(dim=0) + 1e-3
        self._words = sorted({word for transcript in transcripts for word in transcript.split()})
        torch.manual_seed(SEED)
        self._network = self._build()
        self._fit(features, [torch.tensor([LETTERS.index(letter) + 1 for letter in t]) for t in transcripts])

    def evaluate(self, dataset_path):
        """One less the word error rate."""
        features, transcripts = _load(dataset_path)
        n_wrong = n_words = 0
        for heard, said in zip(self._transcribe(features), transcripts, strict=True):
            n_wrong += edit_distance(heard.split(), said.split())
            n_words += len(said.split())
        return 1 - n_wrong / n_words

    def predict(self, queries):
        recordings = [read_wav(io.BytesIO(base64.b64decode(query))) for query in queries]
        return self._transcribe([log_mel(samples) for samples in recordings])

    def dump_parameters(self):
        weights = {f"weights/{name}": tensor.cpu().numpy() for name, tensor in self._network.state_dict().items()}
        return {
            "mean": self._mean.numpy(),
            "std": self._std.numpy(),
            "words": " ".join(self._words),
            **weights,
        }

    def load_parameters(self, params):
        self._mean, self._std = torch.tensor(params["mean"]), torch.tensor(params["std"])
        self._words = params["words"].split()
        self._network = self._build()
        self._network.load_state_dict(
            {name: torch.tensor(params[f"weights/{name}"]) for name in self._network.state_dict()}
        )

    def _build(self):
        return Speller(self._knobs).to(self._device)

    def _fit(self, features, targets):
        utils.logger.define_loss_plot()
        n_epochs, batch_size = self._knobs["max_epochs"], self._knobs["batch_size"]
        # Recordings of like length together: less padding to compute.
        order = torch.tensor([len(f) for f in features]).argsort()
        batches = order.split(batch_size)
        optimizer = torch.optim.AdamW(self._network.parameters(), self._knobs["learning_rate"], weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self._knobs["learning_rate"], total_steps=n_epochs * len(batches)
        )
        # A transcript too long for its recording has an infinite loss; it is passed over.
        loss_of = nn.CTCLoss(zero_infinity=True)
        training = utils.torch_training.TorchTraining(network=self._network, optimizer=optimizer, schedule=schedule)
        for epoch in range(training.resume(), n_epochs):
            self._network.train()
            total = 0.0
            for i in torch.randperm(len(batches)).tolist():
                part = batches[i].tolist()
                scores, lengths = self._listen([_mask(self._normalize(features[j])) for j in part])
                target_lengths = torch.tensor([len(targets[j]) for j in part])
                loss = loss_of(
                    scores.transpose(0, 1),
                    torch.cat([targets[j] for j in part]).to(self._device),
                    lengths,
                    target_lengths,
                )
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self._network.parameters(), 5.0)
                optimizer.step()
                schedule.step()
                total += loss.item()
            utils.logger.log_loss(total / len(batches), epoch)
            training.save(epoch + 1)

    def _normalize(self, features):
        return (features - self._mean) / self._std

    def _listen(self, features):
        """Log-probabilities N x T x classes, and how many of the T steps each recording has."""
        lengths = torch.tensor([len(f) for f in features])
        return self._network(pad_sequence(features, batch_first=True).to(self._device), lengths)

    def _transcribe(self, features, batch_size=32):
        self._network.eval()
        found = [""] * len(features)
        order = sorted(range(len(features)), key=lambda i: len(features[i]))
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                part = order[start : start + batch_size]
                scores, lengths = self._listen([self._normalize(features[i]) for i in part])
                for i, best, length in zip(part, scores.argmax(dim=2).tolist(), lengths.tolist(), strict=True):
                    found[i] = self._correct(spell(best[:length]))
        return found

    def _correct(self, text):
        if not self._knobs["known_words_only"] or len(self._words) > MAX_WORDS:
            return text
        return " ".join(nearest(word, self._words) for word in text.split())


class Speller(nn.Module):
    """From spectrograms N x T x N_MELS and their lengths to log-probabilities N x T/2 x classes and their lengths."""

    def __init__(self, knobs):
        super().__init__()
        self.ears = nn.Conv1d(N_MELS, knobs["filters"], 7, stride=2, padding=3)
        self.dropout = nn.Dropout(knobs["dropout"])
        self.gru = nn.GRU(
            knobs["filters"],
            knobs["hidden_size"],
            num_layers=knobs["layers"],
            dropout=knobs["dropout"] if knobs["layers"] > 1 else 0.0,
            batch_first=True,
            bidirectional=True,
        )
        self.out = nn.Linear(2 * knobs["hidden_size"], 1 + len(LETTERS))

    def forward(self, features, lengths):
        lengths = (lengths + 1) // 2
        heard = torch.relu(self.ears(features.transpose(1, 2))).transpose(1, 2)
        packed = pack_padded_sequence(self.dropout(heard), lengths, batch_first=True, enforce_sorted=False)
        hidden, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True)
        return torch.log_softmax(self.out(self.dropout(hidden)), dim=2), lengths


def _load(dataset_path):
    """The spectrograms of a dataset, and what was said in each."""
    with tempfile.TemporaryDirectory() as folder:
        table = utils.dataset.load_dataset_of_audio_files(dataset_path, folder).df
        features = []
        for path in table["wav_filename"]:
            with open(path, "rb") as file:
                features.append(log_mel(read_wav(file)))
        return features, list(table["transcript"])


def read_wav(file):
    """The samples of a PCM wav file, of any rate and any number of channels, at 16 kHz; from -1 to 1."""
    with wave.open(file, "rb") as wav:
        width, n_channels, rate = wav.getsampwidth(), wav.getnchannels(), wav.getframerate()
        data = wav.readframes(wav.getnframes())
    data = np.frombuffer(data, np.uint8).reshape(-1, width)
    if width == 1:  # the one width whose samples have no sign
        samples = data[:, 0].astype(np.float32) / 128 - 1
    else:
        # The two highest bytes are precise enough.
        samples = np.ascontiguousarray(data[:, -2:]).view("<i2")[:, 0].astype(np.float32) / 32768
    samples = samples.reshape(-1, n_channels).mean(axis=1)
    if rate != SAMPLE_RATE_HZ and len(samples) > 0:
        from scipy.signal import resample_poly

        common = math.gcd(rate, SAMPLE_RATE_HZ)
        samples = resample_poly(samples, SAMPLE_RATE_HZ // common, rate // common).astype(np.float32)
    return samples


def log_mel(samples):
    """The loudness of N_MELS bands of frequency, every 10 ms: T x N_MELS."""
    # As loud as every other recording, so that the distance to the microphone does not matter.
    samples = samples / (np.sqrt(np.mean(samples**2)) + 1e-4) if len(samples) > 0 else samples
    silence = int(SILENCE_S * SAMPLE_RATE_HZ)
    padded = torch.from_numpy(np.pad(samples.astype(np.float32), silence))
    frames = padded.unfold(0, WINDOW, STEP) * torch.hann_window(WINDOW)
    power = torch.fft.rfft(frames, N_FFT).abs() ** 2
    return torch.log(power @ MEL_FILTERS + 1e-3)


def _mel_filters():
    """Overlapping triangles, equally wide in mel, the pitch as ears tell it: (N_FFT / 2 + 1) x N_MELS."""
    top = 2595 * math.log10(1 + SAMPLE_RATE_HZ / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, N_MELS + 2) / 2595) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)[:, None]
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


MEL_FILTERS = _mel_filters()


def _mask(features):
    """A stretch of time and a stretch of bands left out, so that no one of them is relied on (Park et al.,
    SpecAugment, 2019)."""
    features = features.clone()
    for axis, longest in ((0, min(8, len(features) // 4)), (1, N_MELS // 5)):
        length = int(torch.randint(0, longest + 1, ()))
        start = int(torch.randint(0, features.shape[axis] - length + 1, ()))
        features.narrow(axis, start, length).zero_()
    return features


def spell(best):
    """The text of the best class at each step: repetitions count once, blanks separate."""
    letters = [LETTERS[c - 1] for c, before in zip(best, [0, *best], strict=False) if c not in (0, before)]
    return " ".join("".join(letters).split())


def nearest(word, known):
    """The known word that is spelled most like ``word``; ``word`` itself when none comes near."""
    if word in known:
        return word
    best = min(known, key=lambda other: edit_distance(word, other))
    return best if edit_distance(word, best) <= len(best) // 2 else word


def edit_distance(found, wanted):
    """How many words (of lists) or letters (of words) must be put in, taken out or replaced to make ``wanted`` of
    ``found`` (Levenshtein)."""
    row = list(range(len(wanted) + 1))
    for i, word in enumerate(found, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]
