"""imagetrail: an image-recognition pipeline that judges its own results."""
