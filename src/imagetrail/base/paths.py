"""Where everything is, relative to the repository: the one list of paths that stages exchange."""

from pathlib import Path

RAW = Path("data/raw")  # <dataset>/files/, <dataset>/SOURCE.json
RELATED_FILES = Path("data/related")  # <dataset>/, the files of the data sets named in pretrain.related
UNKNOWN = Path("data/unknown")  # <dataset>/, the files of the data set named in evaluate.unknown
WEIGHTS = Path("data/weights")  # safetensors files of the user's, for pretrain.weights
SPLIT = Path("data/split")
TRAIN, VALID, TEST = SPLIT / "train", SPLIT / "valid", SPLIT / "test"
RELATED = SPLIT / "related"  # the pictures of RELATED_FILES, none of which is in valid or test
AUGMENTED = Path("data/augmented")
SYNTHETIC = Path("data/synthetic")
ARTIFACTS = Path("artifacts")  # <stage>/
BEST = ARTIFACTS / "tune" / "best.yaml"  # what the search found
CURES = ARTIFACTS / "compare" / "cures.yaml"  # what of it goes into the final training
PRETRAINED = ARTIFACTS / "pretrain" / "weights.safetensors"
CHAMPION = Path("champion")


def artifacts(stage: str) -> Path:
    """The folder of a stage's results, made if need be."""
    folder = ARTIFACTS / stage
    folder.mkdir(parents=True, exist_ok=True)
    return folder
