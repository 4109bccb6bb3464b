"""Where everything is, relative to the repository: the one list of paths that stages exchange."""

from pathlib import Path

from imagetrail.base.errors import UserError

REQUIREMENTS = Path("requirements.txt")  # pins imagetrail, in a project that has no code of it
RAW = Path("data/raw")  # <dataset>/files/, <dataset>/SOURCE.json
RELATED_FILES = Path("data/related")  # <dataset>/, of the data sets named in pretrain.related
UNKNOWN_FILES = Path("data/unknown")  # <dataset>/, of the data set named in evaluate.unknown
CORRECTIONS = Path("data/corrections.csv")  # labels mended by people; in git
PROJECT_FILE = Path("data/project.json")  # who this is on a server that others use; in git
SCHEMA = Path("data/schema.json")  # what pictures are expected to be; in git
WEIGHTS = Path("data/weights")  # the user's: safetensors files, and <name>/ of networks of the hub
HUB = Path("data/hub")  # <name>/, the files of the network that recipe.model takes from the hub
SPLIT = Path("data/split")
TRAIN, VALID, TEST = SPLIT / "train", SPLIT / "valid", SPLIT / "test"
RELATED = SPLIT / "related"  # pictures of RELATED_FILES, none of which is in valid or test
UNKNOWN = SPLIT / "unknown"  # pictures of UNKNOWN_FILES, to be told from those of test
AUGMENTED = Path("data/augmented")
SYNTHETIC = Path("data/synthetic")
# What an epoch may have a share of, beside train's own images: by field of the recipe.
SHARES = {"augmented": AUGMENTED, "synthetic": SYNTHETIC, "related": RELATED}
ARTIFACTS = Path("artifacts")  # <stage>/
BEST = ARTIFACTS / "tune" / "best.yaml"  # what the search found
REMEDIES = ARTIFACTS / "compare" / "cures.yaml"  # what of it goes into the final training
PRETRAINED = ARTIFACTS / "pretrain" / "weights.safetensors"
INSPECTION = ARTIFACTS / "inspect" / "report.json"
QUARANTINE = ARTIFACTS / "inspect" / "quarantine.csv"  # files left out, and why
FINGERPRINTS = ARTIFACTS / "inspect" / "fingerprints.parquet"
LABEL_ERRORS = ARTIFACTS / "audit" / "label_errors.csv"
CHAMPION = Path("champion")
LEDGER = CHAMPION / "ledger.jsonl"
SIGNERS = CHAMPION / "allowed_signers"  # whose signatures count; without it, none is asked for
CHAMPION_FOLDER = CHAMPION / "model"  # DVC keeps it, the next file points at it
CHAMPION_POINTER = CHAMPION / "model.dvc"
CHAMPION_MODEL = CHAMPION_FOLDER / "model.onnx"


def artifacts(stage: str) -> Path:
    """The folder of a stage's results, made if need be."""
    folder = ARTIFACTS / stage
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def champion_present(root: Path = Path()) -> bool:
    """Whether there is a champion; raises UserError if DVC has yet to bring the one git names."""
    if (root / CHAMPION_POINTER).exists() and not (root / CHAMPION_MODEL).exists():
        wanted = (
            f"which {CHAMPION_POINTER} names; run `dvc pull {CHAMPION_POINTER}`, then this again"
        )
        raise UserError(f"{CHAMPION_FOLDER} is not here, {wanted}")
    return (root / CHAMPION_MODEL).exists()
