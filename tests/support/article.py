"""The article's network, as several tests build it."""

from imagetrail.models.networks import Spec

SPEC = Spec(
    model="article",
    activation="relu",
    width=1.0,
    dropout=0.0,
    classes=tuple("0123456789"),
    image_size=28,
    channels=1,
    mean=(0.0,),
    std=(1.0,),
)
