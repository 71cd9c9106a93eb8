import csv
import json
import os

import numpy as np

from rafiki.model import *


class FourierBoostRegressor(BaseModel):
    """Boosts small ridge regressions on random Fourier features (Rahimi & Recht, 2007)."""

    KNOBS = {
        'kernel': CategoricalKnob(['gaussian', 'laplacian']),
        'num_features': IntegerKnob(32, 256, is_exp=True),
        'gamma': FloatKnob(0.005, 0.3, is_exp=True),
        'alpha': FloatKnob(0.1, 10.0, is_exp=True),
        'shrinkage': CategoricalKnob([0.1, 0.2, 0.3]),
        'early_stop': PolicyKnob('EARLY_STOP')
    }

    MAX_ROUNDS = 60
    EARLY_STOP_ROUNDS = 15

    # (path, mtime) -> (header, rows), as train & val sets get read over and over
    _csv_cache = {}

    @staticmethod
    def get_knob_config():
        return FourierBoostRegressor.KNOBS

    def __init__(self, kernel='gaussian', num_features=128, gamma=0.1, alpha=1.0, shrinkage=0.2,
                 early_stop=False, **knobs):
        super().__init__(kernel=kernel, num_features=num_features, gamma=gamma, alpha=alpha, shrinkage=shrinkage,
                         early_stop=early_stop, **knobs)
        self.kernel = kernel
        self.num_features = num_features
        self.gamma = gamma
        self.alpha = alpha
        self.shrinkage = shrinkage
        self.early_stop = early_stop
        self.features = None
        self.target = None

    def train(self, dataset_path, shared_params=None, **train_args):
        # Remember these for `evaluate`
        self.features = train_args.get('features')
        self.target = train_args.get('target')

        header, rows = self._read_csv(dataset_path)
        if self.target is None:
            self.target = header[-1]
        if self.features is None:
            self.features = [c for c in header if c != self.target]
        elif isinstance(self.features, str):
            self.features = [c.strip() for c in self.features.split(',')]

        X = self._to_matrix(rows)
        y = np.array([self._to_float(row.get(self.target)) for row in rows])

        # Can't learn from rows without a label
        ok = ~np.isnan(y)
        X, y = X[ok], y[ok]

        # Missing values -> column's median
        self._fill = np.array([np.median(c[~np.isnan(c)]) if not np.isnan(c).all() else 0. for c in X.T])
        X = self._impute(X)
        self._x_mean = X.mean(axis=0)
        self._x_std = X.std(axis=0)
        self._x_std[self._x_std == 0] = 1.
        self._y_mean = y.mean()
        self._y_std = y.std() or 1.
        X = (X - self._x_mean) / self._x_std
        residual = (y - self._y_mean) / self._y_std

        rounds = self.MAX_ROUNDS
        if self.early_stop:
            rounds = self.EARLY_STOP_ROUNDS

        utils.logger.define_plot('Training RMSE', ['rmse'], x_axis='round')
        utils.logger.log('%d rows, features: %s, target: %s, %d rounds' % (
            len(X), self.features, self.target, rounds))

        rng = np.random.RandomState(0)
        d, m = X.shape[1], self.num_features
        self._W = np.zeros((rounds, d, m))
        self._b = np.zeros((rounds, m))
        self._beta = np.zeros((rounds, m))
        for r in range(rounds):
            scale = np.sqrt(8. * self.gamma / d)
            if self.kernel == 'gaussian':
                self._W[r] = rng.normal(size=(d, m)) * scale
            else:
                self._W[r] = np.clip(rng.standard_cauchy(size=(d, m)), -20, 20) * scale / 2
            self._b[r] = rng.uniform(0, 2 * np.pi, m)
            Z = self._featurize(X, r)
            A = Z.T.dot(Z) + self.alpha * np.eye(m)
            self._beta[r] = np.linalg.solve(A, Z.T.dot(residual)) * self.shrinkage
            residual = residual - Z.dot(self._beta[r])
            rmse = np.sqrt(np.mean(residual ** 2)) * self._y_std
            utils.logger.log(rmse=rmse, round=r)

    def evaluate(self, dataset_path):
        _, rows = self._read_csv(dataset_path)
        labels = np.array([self._to_float(row.get(self.target)) for row in rows])
        preds = np.array(self.predict(rows))
        ok = ~np.isnan(labels)
        rmse = np.sqrt(np.mean((labels[ok] - preds[ok]) ** 2))
        # Lower RMSE is better
        return -float(rmse)

    def predict(self, queries):
        if len(queries) == 0:
            return []
        X = self._impute(self._to_matrix(queries))
        X = (X - self._x_mean) / self._x_std
        out = np.zeros(len(X))
        for r in range(len(self._W)):
            out += self._featurize(X, r).dot(self._beta[r])
        out = out * self._y_std + self._y_mean
        return [x for x in out]

    def dump_parameters(self):
        return {
            'features': json.dumps(self.features),
            'target': self.target,
            'rounds': len(self._W),
            'y_mean': float(self._y_mean),
            'y_std': float(self._y_std),
            'fill': self._fill,
            'x_mean': self._x_mean,
            'x_std': self._x_std,
            'W': self._W.astype(np.float32),
            'b': self._b.astype(np.float32),
            'beta': self._beta
        }

    def load_parameters(self, params):
        for name in ('y_mean', 'y_std', 'fill', 'x_mean', 'x_std', 'W', 'b', 'beta'):
            setattr(self, '_' + name, params[name])
        self.features = json.loads(params['features'])
        self.target = params['target']
        assert len(self._W) == params['rounds']

    @staticmethod
    def teardown():
        FourierBoostRegressor._csv_cache.clear()

    def _featurize(self, X, r):
        m = self._b[r].shape[0]
        return np.sqrt(2. / m) * np.cos(X.dot(self._W[r]) + self._b[r])

    def _read_csv(self, path):
        key = (path, os.path.getmtime(path))
        if key not in self._csv_cache:
            with open(path, newline='', encoding='utf-8-sig') as f:
                reader = csv.DictReader(f)
                rows = [row for row in reader]
                self._csv_cache[key] = (reader.fieldnames, rows)
        return self._csv_cache[key]

    def _to_matrix(self, rows):
        return np.array([[self._to_float(row.get(c)) for c in self.features] for row in rows])

    def _to_float(self, value):
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            try:
                return float(value.strip().replace(',', ''))
            except ValueError:
                return np.nan
        if value is None:
            return np.nan
        return float(value)

    def _impute(self, X):
        return np.where(np.isnan(X), self._fill, X)


if __name__ == '__main__':
    from rafiki.model.dev import test_model_class
    test_model_class(
        model_file_path=__file__,
        model_class='FourierBoostRegressor',
        task='TABULAR_REGRESSION',
        dependencies={},
        train_dataset_path='data/concrete_train.csv',
        val_dataset_path='data/concrete_val.csv',
        train_args={'target': 'csMPa'},
        queries=[
            {'cement': 540, 'slag': 0, 'flyash': 0, 'water': 162, 'superplasticizer': 2.5,
             'coarseaggregate': 1040, 'fineaggregate': 676, 'age': 28},
            {'cement': '332.5', 'slag': '142.5', 'water': '228', 'age': '270'}
        ]
    )
