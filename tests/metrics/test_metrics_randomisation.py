"""Randomisation of weights: what each backend shuffles and leaves alone, and correlations against SciPy's."""

import numpy as np
import pytest
from scipy import stats

import pathattr as pa
from pathattr.errors import InvalidInput
from pathattr.metrics.randomisation import Randomisation
from pathattr.metrics.subject import Subject
from pathattr.models.registry import load_backend
from pathattr.scenes import Conv, Dense, GlobalAveragePool, ReLU
from pathattr.testing.models import LinearModel, TanhNetwork

SHAPE = (3, 6, 7)
# Wide enough that a shuffle of the smallest array, of 8, does not chance to leave it as it was.
LAYERS = (Conv("first", 9), ReLU(), Conv("second", 8), ReLU(), GlobalAveragePool(), Dense("third", 10))
FRAMEWORKS = ("torch", "tensorflow", "jax")
EXPECTED = {
    "torch": ["0", "2", "5"],
    "tensorflow": ["weights.first", "weights.second", "weights.third"],
    "jax": ["first", "second", "third"],
}


def weights():
    rng = np.random.default_rng(0)
    shapes = {"first": (9, 3, 3, 3), "second": (8, 9, 3, 3), "third": (10, 8)}
    found = {f"{name}.weight": rng.normal(size=shape) for name, shape in shapes.items()}
    found |= {f"{name}.bias": rng.normal(size=shape[0]) for name, shape in shapes.items()}
    return {name: array.astype(np.float32) for name, array in found.items()}


def built(framework):
    backend = load_backend(framework)
    return backend, backend.build(LAYERS, weights())


def arrays(framework, model):
    """Return a model's arrays by layer, sorted flat ones beside."""
    if framework == "torch":
        return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    table = model.weights if framework == "tensorflow" else model[1]
    return {name: np.asarray(array) for name, array in table.items()}


def layer(framework, name):
    first, second, third = EXPECTED[framework]
    stem = name.rpartition(".")[0]
    return {"first": first, "second": second, "third": third}.get(stem, stem)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_layer_is_shuffled_alone_in_a_copy(framework):
    backend, model = built(framework)
    before = {name: array.copy() for name, array in arrays(framework, model).items()}
    names = backend.layers(model)
    assert names == EXPECTED[framework]
    for chosen in names:
        made = backend.randomised(model, [chosen], np.random.default_rng(1))
        for name, array in arrays(framework, made).items():
            np.testing.assert_array_equal(np.sort(array, axis=None), np.sort(before[name], axis=None))
            assert (array == before[name]).all() == (layer(framework, name) != chosen), (chosen, name)
    for name, array in arrays(framework, model).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_cascade_keeps_what_it_has_drawn(framework):
    backend, model = built(framework)
    first, _, third = EXPECTED[framework]
    one, two = (
        arrays(framework, backend.randomised(model, names, np.random.default_rng(2)))
        for names in ([third], [third, first])
    )
    for name in one:
        assert (one[name] == two[name]).all() == (layer(framework, name) != first), name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_layer_that_is_not_there_is_named_with_those_that_are(framework):
    backend, model = built(framework)
    with pytest.raises(InvalidInput, match=f"no layer 'fourth' with weights; it has {EXPECTED[framework][0]}, "):
        backend.randomised(model, ["fourth"], np.random.default_rng(0))


def test_torch_leaves_statistics_and_whole_numbers_alone():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU()).eval()
    model[1].running_mean += torch.arange(6.0)
    model[1].weight.data += torch.arange(6.0)
    backend = load_backend("torch")
    assert backend.layers(model) == ["0", "1"]
    made = backend.randomised(model, ["1", "0"], np.random.default_rng(0))
    assert torch.equal(made[1].running_mean, model[1].running_mean)
    assert not torch.equal(made[1].weight, model[1].weight)
    assert not made.training


def test_torch_keeps_tied_weights_tied():
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)).eval()
    model[1].weight = model[0].weight
    made = load_backend("torch").randomised(model, ["0"], np.random.default_rng(0))
    assert made[1].weight is made[0].weight
    assert made[0].weight is not model[0].weight


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras itself, on torch and JAX
def test_keras_models_are_cloned_with_other_weights():
    keras = pytest.importorskip("keras")
    inputs = keras.Input((6, 7, 3))
    x = keras.layers.Conv2D(9, 3, name="conv")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.Sequential([keras.Input((4, 5, 9)), keras.layers.Conv2D(9, 2, name="inner")], name="nested")(x)
    outputs = keras.layers.Dense(9, name="top")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, outputs)
    rng = np.random.default_rng(0)
    model.set_weights([rng.random(array.shape) for array in model.get_weights()])
    backend = load_backend(keras.config.backend())
    names = backend.layers(model)
    assert [name.rpartition("/")[2] for name in names] == ["conv", "norm", "inner", "top"]
    before = model.get_weights()
    for chosen in names:
        made = backend.randomised(model, [chosen], np.random.default_rng(1))
        for variable, own, array in zip(model.weights, before, made.get_weights(), strict=True):
            np.testing.assert_array_equal(np.sort(array, axis=None), np.sort(own, axis=None))
            moves = variable.path.startswith(chosen + "/") and "moving" not in variable.name
            assert (array == own).all() != moves, (chosen, variable.path)
    for own, array in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, own)


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras itself, on torch and JAX
def test_a_keras_model_that_cannot_be_cloned_asks_for_models():
    keras = pytest.importorskip("keras")

    class Own(keras.Model):
        def __init__(self, units):
            super().__init__()
            self.dense = keras.layers.Dense(units)

        def call(self, x):
            return self.dense(x)

    model = Own(3)
    model(np.zeros((1, 4), np.float32))
    backend = load_backend(keras.config.backend())
    with pytest.raises(InvalidInput, match=r"cannot be cloned .* Pass models="):
        backend.randomised(model, backend.layers(model), np.random.default_rng(0))


def test_flax_models_are_shuffled_without_their_statistics():
    jax, nn = pytest.importorskip("jax"), pytest.importorskip("flax.linen")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.BatchNorm(use_running_average=True)(nn.Dense(9)(x))
            return nn.Dense(9)(x)

    module, x = Net(), np.ones((1, 4), np.float32)
    variables = jax.tree.map(lambda a: a + np.arange(a.size).reshape(a.shape), module.init(jax.random.key(0), x))
    backend = load_backend("jax")
    for model in ((module, variables), module.bind(variables)):
        names = backend.layers(model)
        assert names == ["params.BatchNorm_0", "params.Dense_0", "params.Dense_1"]
        made = backend.randomised(model, names, np.random.default_rng(0))
        found = made[1] if isinstance(made, tuple) else made.variables
        for own, new in zip(jax.tree.leaves(variables["params"]), jax.tree.leaves(found["params"]), strict=True):
            assert (np.asarray(own) != new).any()
        for own, new in zip(
            jax.tree.leaves(variables["batch_stats"]), jax.tree.leaves(found["batch_stats"]), strict=True
        ):
            np.testing.assert_array_equal(new, own)


def test_nnx_and_equinox_models_are_shuffled_in_a_copy():
    jax = pytest.importorskip("jax")
    nnx, eqx = pytest.importorskip("flax.nnx"), pytest.importorskip("equinox")
    backend, rng = load_backend("jax"), np.random.default_rng(0)
    flax = nnx.Sequential(nnx.Linear(4, 5, rngs=nnx.Rngs(0)), nnx.BatchNorm(5, rngs=nnx.Rngs(1)))
    flax.eval()
    own = np.array(flax.layers[0].kernel[...])
    assert backend.layers(flax) == ["layers.0", "layers.1"]
    made = backend.randomised(flax, ["layers.0"], rng)
    assert (np.asarray(made.layers[0].kernel[...]) != own).any()
    np.testing.assert_array_equal(flax.layers[0].kernel[...], own)
    np.testing.assert_array_equal(made.layers[1].mean[...], flax.layers[1].mean[...])

    mlp = eqx.nn.MLP(4, 3, 5, 1, key=jax.random.key(0))
    assert backend.layers(mlp) == ["layers.0", "layers.1"]
    made = backend.randomised(mlp, ["layers.1"], rng)
    np.testing.assert_array_equal(made.layers[0].weight, mlp.layers[0].weight)
    assert (np.asarray(made.layers[1].weight) != mlp.layers[1].weight).any()


def case(framework="torch", batch=2):
    backend, model = built(framework)
    x = np.random.default_rng(3).normal(size=(batch, *SHAPE)).astype(np.float32)
    x = np.moveaxis(x, 1, backend.channel_axis)
    own = pa.PathExplainer(model, family="linear", steps=2, output="logit", link="softmax")
    return own, Subject(model, x, [0, 2][:batch], link="softmax"), own(x, [0, 2][:batch])


@pytest.mark.parametrize(
    ("framework", "mode"), [("torch", "independent"), *((framework, "cascading") for framework in FRAMEWORKS)]
)
def test_similarities_are_spearmans_of_the_shuffled_models_maps(framework, mode):
    own, subject, maps = case(framework)
    metric = Randomisation(own, mode)
    found = metric(subject, maps)
    backend, names = load_backend(framework), EXPECTED[framework][::-1]
    stages = [names[: k + 1] if mode == "cascading" else [names[k]] for k in range(3)]
    assert metric.stages(subject) == [tuple(stage) for stage in stages]
    plain, signed = np.empty((2, 3)), np.empty((2, 3))
    for k, stage in enumerate(stages):
        model = backend.randomised(own.model, stage, np.random.default_rng(0))
        other = own.but(model=model)(subject.inputs, [0, 2]).numpy()
        for row in range(2):
            a, b = maps.numpy()[row].ravel(), other[row].ravel()
            plain[row, k] = stats.spearmanr(np.abs(a), np.abs(b)).statistic
            signed[row, k] = stats.spearmanr(a, b).statistic
    # Ranks of the same arrays: only the sums differ, in order.
    np.testing.assert_allclose(found.curves["similarity"].values, plain, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.curves["similarity_signed"].values, signed, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.score, plain.mean(axis=1), rtol=0, atol=1e-12)
    assert ("similarity_final" in found.values) == (mode == "cascading")


def test_chosen_layers_and_seeds_are_kept_to():
    own, subject, maps = case()
    metric = Randomisation(own, layers=["0", "5"])
    assert metric.stages(subject) == [("5",), ("5", "0")]
    again = Randomisation(own, layers=("0", "5"))(subject, maps)
    np.testing.assert_array_equal(metric(subject, maps).score, again.score)
    other = Subject(own.model, subject.inputs, [0, 2], link="softmax", seed=1)
    assert (metric(other, maps).score != again.score).any()


def test_an_example_does_not_depend_on_its_batch_mates():
    own, subject, maps = case()
    together = Randomisation(own)(subject, maps)
    for row, target in enumerate([0, 2]):
        part = subject.inputs[row : row + 1]
        alone = Randomisation(own)(Subject(own.model, part, target, link="softmax"), maps.numpy()[row : row + 1])
        # float32 products in blocks of another size may exchange the ranks of entries equal to 1e-6.
        np.testing.assert_allclose(alone.score[0], together.score[row], rtol=0, atol=1e-3)


def test_models_serve_where_the_backend_cannot_shuffle():
    network = TanhNetwork.random(SHAPE)
    own = pa.PathExplainer(network.model(), steps=3, output="logit", link="softmax")
    x = np.random.default_rng(0).normal(size=(2, *SHAPE))
    subject, maps = Subject(own.model, x, 1, link="softmax"), own(x, 1)
    with pytest.raises(InvalidInput, match=r"the numpy backend cannot shuffle .* Pass models="):
        Randomisation(own)(subject, maps)

    def models(rng):
        yield own.model
        yield TanhNetwork.random(SHAPE, seed=int(rng.integers(1, 100))).model()

    found = Randomisation(own, models=models)(subject, maps)
    np.testing.assert_allclose(found.curves["similarity"].values[:, 0], 1, rtol=1e-12)  # rounding of the quotient
    assert (found["similarity_final"] < 0.9).all()
    with pytest.raises(InvalidInput, match="models yielded none"):
        Randomisation(own, models=lambda rng: [])(subject, maps)


def test_a_constant_map_is_left_out():
    own = pa.PathExplainer(LinearModel(np.ones(SHAPE)).model(), steps=1, family="linear")
    x = np.stack([np.zeros(SHAPE), np.random.default_rng(0).normal(size=SHAPE)])
    models = [LinearModel(np.full(SHAPE, 2.0)).model()]
    found = Randomisation(own, models=lambda rng: models)(Subject(own.model, x), own(x))
    assert np.isnan(found.score).tolist() == [True, False]
    np.testing.assert_allclose(found.score[1], 1, rtol=1e-12)


def test_settings_are_checked():
    own = case()[0]
    with pytest.raises(InvalidInput, match="takes an explainer"):
        Randomisation(own.model)
    with pytest.raises(InvalidInput, match="mode must be one of"):
        Randomisation(own, "both")
    for layers in ("conv", ()):
        with pytest.raises(InvalidInput, match="layers is a sequence of names"):
            Randomisation(own, layers=layers)
    with pytest.raises(InvalidInput, match="pass it or layers, not both"):
        Randomisation(own, layers=["0"], models=lambda rng: [])
    with pytest.raises(InvalidInput, match="function is no module"):
        load_backend("torch").layers(lambda x: x)
    with pytest.raises(InvalidInput, match=r"\(apply, params\) are"):
        load_backend("jax").layers(lambda x: x)
    with pytest.raises(InvalidInput, match=r"function is no tf\.Module"):
        load_backend("tensorflow").layers(lambda x: x)
