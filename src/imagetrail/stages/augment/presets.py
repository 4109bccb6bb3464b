"""Policies by the kind of pictures, each a list of Albumentations transforms."""

from typing import Any

Policy = list[dict[str, dict[str, Any]]]  # one transform a line: its name, and its arguments

PRESETS: dict[str, Policy] = {
    "digits": [  # what is written: nothing may be mirrored
        {
            "Affine": {
                "translate_percent": [-0.07, 0.07],
                "scale": [0.9, 1.1],
                "rotate": [-10, 10],
                "shear": [-8, 8],
                "p": 0.9,
            }
        },
        {"ElasticTransform": {"alpha": 8, "sigma": 4, "p": 0.5}},
    ],
    "objects": [  # things that look the same from the other side, on a plain ground
        {"HorizontalFlip": {"p": 0.5}},
        {
            "Affine": {
                "translate_percent": [-0.08, 0.08],
                "scale": [0.9, 1.1],
                "rotate": [-10, 10],
                "p": 0.8,
            }
        },
        {"ElasticTransform": {"alpha": 8, "sigma": 4, "p": 0.3}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.15, "contrast_limit": 0.15, "p": 0.5}},
    ],
    "photos": [  # taken by a camera: the frame, the light and the focus differ
        {"HorizontalFlip": {"p": 0.5}},
        {
            "Affine": {
                "translate_percent": [-0.1, 0.1],
                "scale": [0.85, 1.25],
                "rotate": [-12, 12],
                "border_mode": 4,
                "p": 0.8,
            }
        },
        {"RandomBrightnessContrast": {"brightness_limit": 0.25, "contrast_limit": 0.25, "p": 0.6}},
        {
            "OneOf": {
                "transforms": [
                    {"GaussianBlur": {"blur_limit": [3, 3]}},
                    {"GaussNoise": {"std_range": [0.02, 0.06]}},
                ],
                "p": 0.2,
            }
        },
        {
            "CoarseDropout": {
                "hole_height_range": [0.1, 0.25],
                "hole_width_range": [0.1, 0.25],
                "fill": 128,
                "p": 0.2,
            }
        },
    ],
    "documents": [  # pages and forms: askew, unevenly lit, copied badly, and never mirrored
        {
            "Affine": {
                "translate_percent": [-0.04, 0.04],
                "scale": [0.92, 1.08],
                "rotate": [-4, 4],
                "border_mode": 1,
                "p": 0.7,
            }
        },
        {"Perspective": {"scale": [0.01, 0.04], "border_mode": 1, "p": 0.3}},
        {"Morphological": {"scale": [2, 2], "operation": "dilation", "p": 0.1}},
        {"RandomBrightnessContrast": {"brightness_limit": 0.2, "contrast_limit": 0.2, "p": 0.5}},
        {
            "OneOf": {
                "transforms": [
                    {"GaussianBlur": {"blur_limit": [3, 3]}},
                    {"GaussNoise": {"std_range": [0.02, 0.06]}},
                    {"ImageCompression": {"quality_range": [40, 80]}},
                ],
                "p": 0.3,
            }
        },
    ],
    "microscopy": [  # no side is up; stains, light and focus differ
        {"HorizontalFlip": {"p": 0.5}},
        {"VerticalFlip": {"p": 0.5}},
        {
            "Affine": {
                "scale": [0.9, 1.1],
                "rotate": [-180, 180],
                "border_mode": 4,
                "p": 0.8,
            }
        },
        {"ElasticTransform": {"alpha": 8, "sigma": 4, "border_mode": 4, "p": 0.2}},
        {"ColorJitter": {"brightness": 0.15, "contrast": 0.2, "saturation": 0.2, "hue": 0.04}},
        {
            "OneOf": {
                "transforms": [
                    {"GaussianBlur": {"blur_limit": [3, 3]}},
                    {"ShotNoise": {"scale_range": [0.005, 0.02]}},
                ],
                "p": 0.2,
            }
        },
    ],
}
