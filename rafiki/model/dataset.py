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

__all__ = [
    "AudioFilesDataset",
    "CorpusDataset",
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
