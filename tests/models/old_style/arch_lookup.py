import csv

import numpy as np

from rafiki.model import BaseModel, FixedKnob, ArchKnob, KnobValue, logger, serialize_knob_config, \
                            deserialize_knob_config
from rafiki.constants import ModelDependency


class ArchLookup(BaseModel):
    '''
    Counts how often each value of a column goes with each class. The architecture says which columns it looks at,
    and how counts are put together.
    '''
    @staticmethod
    def get_knob_config():
        columns = [KnobValue(i) for i in range(3)]
        ops = [KnobValue('mean'), KnobValue('max')]
        knob_config = {
            'arch': ArchKnob([columns, ops, columns, ops]),
            'smooth': FixedKnob(0.5)
        }
        # As it travelled between services
        return deserialize_knob_config(serialize_knob_config(knob_config))

    def __init__(self, **knobs):
        super().__init__(**knobs)
        self.__dict__.update(knobs)

    def train(self, dataset_path, shared_params=None, target=None, **kwargs):
        self._target = target
        (rows, classes) = self._read(dataset_path)
        self._classes = sorted(set(classes))
        self._tables = {}
        for i in set(x for x in self.arch if not isinstance(x, str)):
            table = {}
            for (row, y) in zip(rows, classes):
                counts = table.setdefault(row[i], np.full(len(self._classes), self.smooth))
                counts[self._classes.index(y)] += 1
            self._tables[i] = table
        logger.log('Counted {} rows'.format(len(rows)), columns=len(self._tables))

    def evaluate(self, dataset_path):
        (rows, classes) = self._read(dataset_path)
        probs = self._predict(rows)
        return np.mean([self._classes[p.argmax()] == y for (p, y) in zip(probs, classes)])

    def predict(self, queries):
        return [p.tolist() for p in self._predict([list(q.values()) for q in queries])]

    def dump_parameters(self):
        return {
            'classes': self._classes,
            'tables': self._tables,
            'target': self._target,
            'order': (1, ['a', b'\x00\xff'], None)
        }

    def load_parameters(self, params):
        self._classes = params['classes']
        self._tables = params['tables']
        self._target = params['target']
        assert params['order'] == (1, ['a', b'\x00\xff'], None)

    def _predict(self, rows):
        out = []
        for row in rows:
            parts = []
            for (i, op) in zip(self.arch[::2], self.arch[1::2]):
                counts = self._tables[i].get(row[i], np.ones(len(self._classes)))
                parts.append(counts if op == 'max' else counts / counts.sum())
            probs = np.prod(parts, axis=0)
            out.append(probs / probs.sum())
        return out

    def _read(self, path):
        with open(path) as f:
            rows = list(csv.reader(f))[1:]
        return ([r[:-1] for r in rows], [r[-1] for r in rows])


DEPENDENCIES = {ModelDependency.SCIKIT_LEARN: '0.20.0'}
