"""``utils.dataset``: reads the datasets of the tasks and prepares what is in them."""

from rafiki.model.dataset_audio import AudioFilesDataset, load_dataset_of_audio_files
from rafiki.model.dataset_corpus import CorpusDataset, load_dataset_of_corpus
from rafiki.model.dataset_images import (
    ImageFilesDataset,
    load_dataset_of_image_files,
    load_images,
    normalize_images,
    transform_images,
)
from rafiki.model.dataset_table import TableDataset, load_dataset_of_table
from rafiki.model.features import FeatureEncoder


class DatasetUtils:
    """The functions of ``utils.dataset`` as methods, for code that makes an instance of its own."""

    load_dataset_of_audio_files = staticmethod(load_dataset_of_audio_files)
    load_dataset_of_corpus = staticmethod(load_dataset_of_corpus)
    load_dataset_of_image_files = staticmethod(load_dataset_of_image_files)
    load_dataset_of_table = staticmethod(load_dataset_of_table)
    load_images = staticmethod(load_images)
    normalize_images = staticmethod(normalize_images)
    transform_images = staticmethod(transform_images)


__all__ = [
    "AudioFilesDataset",
    "CorpusDataset",
    "DatasetUtils",
    "FeatureEncoder",
    "ImageFilesDataset",
    "TableDataset",
    "load_dataset_of_audio_files",
    "load_dataset_of_corpus",
    "load_dataset_of_image_files",
    "load_dataset_of_table",
    "load_images",
    "normalize_images",
    "transform_images",
]
