"""The shipped classifier of generated scenes as a Keras 3 model, on whatever framework Keras runs.

pathattr verify --model examples/keras_classifier.py:classifier
"""

import keras

from pathattr import ImageModel, scenes


def classifier():
    """Return the trained classifier with a softmax at its end, which pathattr recognises."""
    weights = scenes.load_weights()
    model = keras.Sequential([keras.Input((scenes.SIZE, scenes.SIZE, 3))])
    for number, filters in enumerate((16, 32, 48, 64, 96), start=1):
        model.add(keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}"))
        if number < 5:
            model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(len(scenes.CLASSES), activation="softmax", name="logits"))
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5", "logits"):
        # Stored as PyTorch has them: (out, in, height, width) and (out, in).
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        model.get_layer(name).set_weights([kernel.T.swapaxes(0, 1) if kernel.ndim == 4 else kernel.T, bias])
    return ImageModel(model, scenes.SIZE, scenes.PREPROCESSING, scenes.CLASSES, channel_axis="auto")
