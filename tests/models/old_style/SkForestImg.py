import argparse
import base64
import pickle

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier

from rafiki.model import BaseModel, IntegerKnob, FloatKnob, FixedKnob, CategoricalKnob, utils
from rafiki.model.dev import test_model_class
from rafiki.constants import ModelDependency


class SkForestImg(BaseModel):
    '''
    Implements a decision forest on raw grayscale pixels with scikit-learn
    '''
    @staticmethod
    def get_knob_config():
        return {
            'n_trees': IntegerKnob(20, 100, is_exp=True),
            'max_depth': IntegerKnob(8, 32),
            'max_features': FloatKnob(3e-2, 3e-1, is_exp=True),
            'min_leaf': IntegerKnob(1, 4),
            'criterion': CategoricalKnob(['gini', 'entropy']),
            'extra': CategoricalKnob([True, False]),
            'max_image_size': FixedKnob(28)
        }

    def __init__(self, **knobs):
        self.__dict__.update(knobs)
        self._clf = self._build_classifier()

    def train(self, dataset_path, **kwargs):
        dataset = utils.dataset.load_dataset_of_image_files(dataset_path, max_image_size=self.max_image_size,
                                                            mode='L', if_shuffle=True)
        self._image_size = dataset.image_size
        print('Training on {} images of size {}, {} classes'.format(dataset.size, dataset.image_size, dataset.classes))

        (images, classes) = zip(*[(image, image_class) for (image, image_class) in dataset])
        (images, self._mean, self._std) = utils.dataset.normalize_images(images)
        X = self._flatten(images)
        y = np.asarray(classes)

        utils.logger.define_plot('Training accuracy over trees', ['train_acc'], x_axis='trees')
        utils.logger.log('No. of classes: {}'.format(dataset.classes))

        # Grow the forest in 4 steps so that there's something to look at
        for i in range(1, 5):
            n = max(1, self.n_trees * i // 4)
            self._clf.set_params(n_estimators=n)
            self._clf.fit(X, y)
            acc = self._clf.score(X, y)
            utils.logger.log(train_acc=acc, trees=n)

        utils.logger.log('Train accuracy: {}'.format(acc))

    def evaluate(self, dataset_path):
        dataset = utils.dataset.load_dataset_of_image_files(dataset_path, min_image_size=self._image_size,
                                                            max_image_size=self._image_size, mode='L')
        images = [image for (image, _) in dataset]
        classes = [image_class for (_, image_class) in dataset]
        (images, _, _) = utils.dataset.normalize_images(images, self._mean, self._std)
        preds = self._clf.predict(self._flatten(images))
        accuracy = sum([1 if a == b else 0 for (a, b) in zip(preds, classes)]) / len(classes)
        print('Accuracy: {}'.format(accuracy))
        return accuracy

    def predict(self, queries):
        images = utils.dataset.transform_images(queries, image_size=self._image_size, mode='L')
        (images, _, _) = utils.dataset.normalize_images(images, self._mean, self._std)
        probs = self._clf.predict_proba(self._flatten(images))
        return probs.tolist()

    def dump_parameters(self):
        params = {}

        # Save model parameters
        clf_bytes = pickle.dumps(self._clf)
        params['clf_base64'] = base64.b64encode(clf_bytes).decode('utf-8')

        # Save preprocessing params (grayscale, so it's just 1 channel)
        params['image_size'] = self._image_size
        params['mean'] = float(np.mean(self._mean))
        params['std'] = float(np.mean(self._std))
        return params

    def load_parameters(self, params):
        self._clf = pickle.loads(base64.b64decode(params['clf_base64'].encode('utf-8')))
        self._image_size = params['image_size']
        self._mean = params['mean']
        self._std = params['std']

    def _flatten(self, images):
        images = np.asarray(images)
        return images.reshape(len(images), -1)

    def _build_classifier(self):
        cls = ExtraTreesClassifier if self.extra else RandomForestClassifier
        return cls(n_estimators=self.n_trees, max_depth=self.max_depth, max_features=self.max_features,
                   min_samples_leaf=self.min_leaf, criterion=self.criterion, warm_start=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--train_path', type=str, default='data/fashion_mnist_train.zip', help='Path to train dataset')
    parser.add_argument('--val_path', type=str, default='data/fashion_mnist_val.zip', help='Path to validation dataset')
    parser.add_argument('--test_path', type=str, default=None, help='Path to test dataset')
    parser.add_argument('--query_path', type=str,
                        default='examples/data/image_classification/fashion_mnist_test_1.png,'
                                'examples/data/image_classification/fashion_mnist_test_2.png',
                        help='Path(s) to query image(s), delimited by commas')
    # Leave the rest (knobs, budget) to `test_model_class`
    (args, _) = parser.parse_known_args()

    queries = utils.dataset.load_images(args.query_path.split(',')).tolist()
    (predictions, _) = test_model_class(
        model_file_path=__file__,
        model_class='SkForestImg',
        task='IMAGE_CLASSIFICATION',
        dependencies={
            ModelDependency.SCIKIT_LEARN: ''
        },
        train_dataset_path=args.train_path,
        val_dataset_path=args.val_path,
        test_dataset_path=args.test_path,
        queries=queries
    )
    print([np.argmax(x) for x in predictions])
