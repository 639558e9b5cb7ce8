"""The methods that explain TensorFlow models, each a function of `TensorFlowSide` that returns what to time."""

import numpy as np
import tensorflow as tf

import networks
import pathattr as pa


class Counted(tf.Module):
    """A model that counts the points it was shown, and those whose gradient was taken, whenever its graph runs.

    In plain numbers: models that write to variables of TensorFlow's are refused.
    """

    def __init__(self, inner):
        super().__init__()
        self.inner, self.forwards, self.gradients = inner, 0, 0

    def _shown(self, count):
        self.forwards += int(count)
        return count

    def _differentiated(self, count):
        self.gradients += int(count)
        return count

    @tf.autograph.experimental.do_not_convert
    def __call__(self, x):
        @tf.custom_gradient
        def counted(outputs):
            def back(gradient):
                told = tf.numpy_function(self._differentiated, [tf.shape(gradient)[0]], tf.int32)
                with tf.control_dependencies([told]):
                    return tf.identity(gradient)

            told = tf.numpy_function(self._shown, [tf.shape(outputs)[0]], tf.int32)
            with tf.control_dependencies([told]):
                return tf.identity(outputs), back

        return counted(self.inner(x))


class TensorFlowSide:
    """The job's network, pictures, baseline and targets, as TensorFlow has them: channels last."""

    def __init__(self, job):
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        tf.config.threading.set_inter_op_parallelism_threads(job.threads)
        gpus = tf.config.list_physical_devices("GPU")
        if job.device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        elif not gpus:
            raise LookupError("this TensorFlow sees no GPU")
        else:
            tf.config.experimental.set_memory_growth(gpus[0], True)
        self.steps, self.block, self.device = job.steps, job.block, job.device
        found = networks.load_tensorflow(job.network, job.arrays())
        self.model = Counted(found.model)
        self.images, self.start = (tf.constant(np.moveaxis(a, -3, -1)) for a in job.normalised(found.preprocessing))
        self.targets = tf.constant(job.targets)

    def gradient(self, points, target):
        """Return the gradients of one class's probability."""
        with tf.GradientTape() as tape:
            tape.watch(points)
            chosen = tf.nn.softmax(self.model(points), axis=-1)[:, target]
        return tape.gradient(chosen, points)

    def warm_up(self):
        self.gradient(self.images[:1], self.targets[0])

    def logits(self):
        """Return the logits of the pictures, a block at a time."""
        blocks = range(0, len(self.images), self.block)
        return np.concatenate([self.model(self.images[i : i + self.block]).numpy() for i in blocks])

    def counts(self):
        return self.model.forwards, self.model.gradients

    def peak(self):
        """Return the most bytes held on the GPU since the last call; None on the CPU."""
        if self.device != "cuda":
            return None
        most = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        tf.config.experimental.reset_memory_stats("GPU:0")
        return most

    def numpy(self, maps):
        """Return what a method gave as (batch, channels, height, width)."""
        return np.moveaxis(np.asarray(maps, float), -1, 1)


def bare(side):
    """As many gradients in the same blocks, and nothing else: what no method can do without."""
    count = side.steps * len(side.images)
    points = tf.tile(side.images, (-(-side.block // len(side.images)), 1, 1, 1))[: side.block]
    gradient = tf.function(side.gradient)

    def run():
        found = None
        for first in range(0, count, side.block):
            found = gradient(points[: min(side.block, count - first)], side.targets[0])
        found.numpy()  # a GPU's work may still be under way

    return run


def pathattr_linear(side):
    explainer = pa.PathExplainer(
        side.model, family="linear", steps=side.steps, batch_size=side.block, baseline=side.start
    )
    return lambda: explainer(side.images, side.targets).attributions.numpy()


def tutorial(side):
    """TensorFlow's tutorial: steps + 1 points in traced blocks, gradients kept, the mean of neighbours' means."""
    gradient_at = tf.function(
        lambda image, alpha, target: side.gradient(
            side.start + alpha[:, None, None, None] * (image - side.start), target
        )
    )

    def integrated(image, target):
        alphas = tf.linspace(0.0, 1.0, side.steps + 1)
        parts = range(0, side.steps + 1, side.block)
        gradients = tf.concat([gradient_at(image, alphas[i : i + side.block], target) for i in parts], axis=0)
        return (image - side.start) * tf.reduce_mean((gradients[:-1] + gradients[1:]) / 2, axis=0)

    return lambda: np.stack([integrated(image, t).numpy() for image, t in zip(side.images, side.targets, strict=True)])


METHODS = {"gradients-tensorflow": bare, "pathattr-tensorflow": pathattr_linear, "tensorflow-tutorial": tutorial}
