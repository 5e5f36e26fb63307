"""Device side of the jetson target: TensorRT 8.5 to 11, one execution path."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_yolov9.bundle import Bundle, TensorSpec
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled
from edge_yolov9.registry import Session
from edge_yolov9.text import logger

from . import check
from .runtime import cache
from .runtime import engine as engines
from .runtime.camera import Camera, CameraInput
from .runtime.cuda import Buffer, Cuda, Graph, Stream
from .runtime.engine import Loaded

log = logger("edge_yolov9.jetson")

OLDEST, NEWEST = (8, 5), (11, 99)
"""TensorRT versions whose API this session follows."""


def open_sessions(bundle: Bundle, threads: int | None, count: int) -> list[TensorRTSession]:
    """Build or load the engine of a jetson bundle, for ``count`` execution contexts.

    ``threads`` has no meaning on a GPU and is ignored.

    The first start on a device builds the engine, which takes minutes; messages go to ``logging``.

    Raises:
        RuntimeNotInstalled: TensorRT or the CUDA runtime is missing or of a version out of range.
        InferenceError: there is no GPU, the engine cannot be built, or computes something else than it should.
        BundleError: TensorRT does not accept the bundle.
        TargetError: the bundle wants a DLA that is not there.
    """
    bundle.expect(("NCHW", ("float32",)), ("NCHW", ("float32",)))
    trt = import_tensorrt()
    cuda = Cuda()  # before anything of TensorRT: without a driver that ends the process
    loaded = engines.load(trt, cuda, bundle, partial(_wrong, trt, cuda, bundle))
    camera = Camera.open(trt, cuda, bundle)
    return [TensorRTSession(trt, cuda, loaded, bundle, camera) for _ in range(count)]


def build(bundle: Bundle) -> Loaded:
    """Build the engine, or take it from the cache, and close it: what :func:`open_sessions` will find.

    Raises:
        InferenceError: the engine cannot be built, or not kept.
        EdgeYoloError: as for :func:`open_sessions`.
    """
    (session,) = open_sessions(bundle, None, 1)
    loaded = session.loaded
    session.close()
    if cache.read(loaded.file) is None:
        raise InferenceError(
            f"the engine was built, but could not be kept in {loaded.file.parent}; make room there, or set "
            "EDGE_YOLOV9_CACHE to a folder that can be written"
        )
    return loaded


def import_tensorrt() -> Any:
    """The module, of a version that the session knows.

    Raises:
        RuntimeNotInstalled: it does not load, or is too old or too new.
    """
    try:
        import tensorrt as trt
    except Exception as error:  # whatever a library, numpy or pybind11 raises
        raise RuntimeNotInstalled(
            f"TensorRT's Python module does not load ({' '.join(str(error).split())}); JetPack brings it: "
            "make the environment with python3 -m venv --system-site-packages"
        ) from error
    version = getattr(trt, "__version__", None)
    installed = cache.version(str(version))
    if installed is None:
        places = ", ".join(map(str, getattr(trt, "__path__", ())))
        raise RuntimeNotInstalled(f"the module tensorrt in {places} is not TensorRT's (version {version}); rename it")
    if installed < OLDEST:
        raise RuntimeNotInstalled(f"TensorRT 8.5 or newer is needed, {trt.__version__} is installed; update JetPack")
    if installed > NEWEST:
        raise RuntimeNotInstalled(f"TensorRT up to 11 is known, {trt.__version__} is installed; update edge-yolov9")
    return trt


def _wrong(trt: Any, cuda: Cuda, bundle: Bundle, loaded: Loaded) -> str:
    """What an engine that was just built gets wrong on the bundle's pictures; "" without pictures."""
    if check.FILE not in bundle.manifest.files:
        return ""
    session = TensorRTSession(trt, cuda, loaded, bundle)
    try:
        return check.complaint(check.compare(session, bundle, loaded.precision))
    finally:
        session.close()


class TensorRTSession(Session):
    """An engine with its buffers on one stream. No frame allocates memory, on the GPU or here."""

    def __init__(self, trt: Any, cuda: Cuda, loaded: Loaded, bundle: Bundle, camera: Camera | None = None) -> None:
        """Prepare everything that a frame needs.

        Args:
            camera: letterboxes frames of one size on the GPU, for :meth:`infer_frame`.

        Raises:
            InferenceError: memory does not suffice.
            BundleError: the engine has other tensors than the manifest.
        """
        self.loaded = loaded
        manifest = bundle.manifest
        self._cuda, self._buffers, self._graphs = cuda, dict[str, Buffer](), dict[bool, Graph]()
        self._stream: Stream | None = None
        self._camera: CameraInput | None = None
        self._from_camera = False
        self._context: Any = None
        self._scale = np.float32(manifest.input.scaling)
        size = (manifest.input.height, manifest.input.width)
        self._shape = (*size, 3)
        self._channels = [np.empty(size, np.uint8) for _ in range(3)]
        self._input = manifest.input.tensor.name
        self._outputs = [spec.name for spec in manifest.outputs]
        self._check_tensors(trt, loaded.engine, manifest.input.tensor, manifest.outputs)
        try:
            self._prepare(camera, manifest.input.tensor, *manifest.outputs)
        except InferenceError:
            self.close()
            raise
        outputs = (self._buffers[name].array for name in self._outputs)
        self._maps = [array.reshape(array.shape[1], -1) for array in outputs]

    def _prepare(self, camera: Camera | None, *specs: TensorSpec) -> None:
        self._context = self.loaded.engine.create_execution_context()
        if self._context is None:
            raise InferenceError("TensorRT could not create an execution context; free some memory and try again")
        self._stream = Stream(self._cuda)
        for spec in specs:
            buffer = self._buffers[spec.name] = Buffer(self._cuda, spec.shape)
            if not self._context.set_tensor_address(spec.name, buffer.address):
                raise InferenceError(f"TensorRT refuses the memory of tensor {spec.name}")
        self._record(False)
        if camera is not None:
            self._camera = camera.attach(self._cuda, self._buffers[self._input])
            self._record(True)

    def _record(self, from_camera: bool) -> None:
        """A CUDA graph of one frame, after one run without, as TensorRT wants it; where that fails, none."""
        assert self._stream is not None
        self._enqueue(from_camera)
        self._stream.wait()
        try:
            self._graphs[from_camera] = Graph(self._cuda, self._stream, partial(self._enqueue, from_camera))
        except InferenceError as error:
            log.info("frames run without a CUDA graph: %s", error)

    def _enqueue(self, from_camera: bool) -> None:
        assert self._stream is not None
        if from_camera and self._camera is not None:
            self._camera.enqueue(self._stream)
        else:
            self._buffers[self._input].upload(self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise InferenceError("TensorRT could not start the inference")
        for name in self._outputs:
            self._buffers[name].download(self._stream)

    @property
    def precision(self) -> str:
        """What the engine computes in where that is not the bundle's precision."""
        return self.loaded.precision if self.loaded.why else ""

    @property
    def note(self) -> str:
        """Why the engine computes in FP16 where the bundle is INT8."""
        return f"this engine computes in FP16, not INT8: {self.loaded.why}" if self.loaded.why else ""

    @property
    def frame_size(self) -> tuple[int, int] | None:
        """(height, width) of frames that :meth:`infer_frame` takes; None where the host letterboxes."""
        return None if self._camera is None else self._camera.size

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one letterboxed frame; see :class:`edge_yolov9.registry.Session`."""
        self._checked(image, self._shape)
        cv2.split(image, self._channels)
        for channel, plane in zip(reversed(self._channels), self._buffers[self._input].array[0], strict=True):
            np.multiply(channel, self._scale, out=plane)
        return self._run(False)

    def bare(self) -> None:
        """Run the engine once more on the input that is in place: what a frame costs without our part of it.

        After :meth:`infer_frame` the letterbox engine runs too.
        """
        self._run(self._from_camera)

    def infer_frame(self, frame: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one frame (H, W, 3) uint8 BGR of ``frame_size``, letterboxed on the GPU."""
        if self._camera is None:
            raise InferenceError("this bundle letterboxes on the host; compile it with --camera HEIGHTxWIDTH")
        self._checked(frame, (*self._camera.size, 3))
        self._camera.frame[...] = frame
        return self._run(True)

    def _checked(self, image: NDArray[np.uint8], shape: tuple[int, ...]) -> None:
        if self._stream is None:
            raise InferenceError("this session is closed; open the bundle again")
        if image.shape != shape or image.dtype != np.uint8:
            raise InferenceError(f"expected a frame {shape} uint8, got {image.shape} {image.dtype}")

    def _run(self, from_camera: bool) -> list[NDArray[Any]]:
        assert self._stream is not None
        self._from_camera = from_camera
        if graph := self._graphs.get(from_camera):
            graph.launch()
        else:
            self._enqueue(from_camera)
        self._stream.wait()
        return list(self._maps)

    def close(self) -> None:
        """Free engine, memory and stream. Calling it twice does no harm."""
        self._context, self._maps = None, []
        self.loaded = replace(self.loaded, engine=None, runtime=None)
        stream, self._stream = self._stream, None
        parts: list[Any] = [*self._graphs.values(), *([self._camera] if self._camera else []), *self._buffers.values()]
        self._graphs, self._buffers, self._camera = {}, {}, None
        for part in (*parts, *([stream] if stream else [])):
            with suppress(InferenceError):  # a GPU that has failed cannot free anything either
                part.close()

    @staticmethod
    def _check_tensors(trt: Any, engine: Any, image: TensorSpec, outputs: tuple[TensorSpec, ...]) -> None:
        """The engine's tensors, in whatever order, must be those of the manifest."""
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        wanted = {image.name: (trt.TensorIOMode.INPUT, image)}
        wanted |= {spec.name: (trt.TensorIOMode.OUTPUT, spec) for spec in outputs}
        if set(names) != set(wanted):
            raise BundleError(f"the engine has the tensors {sorted(names)}, the manifest {sorted(wanted)}; recompile")
        for name, (mode, spec) in wanted.items():
            shape, dtype = tuple(engine.get_tensor_shape(name)), engine.get_tensor_dtype(name)
            if engine.get_tensor_mode(name) != mode or shape != spec.shape or dtype != trt.float32:
                raise BundleError(
                    f"tensor {name} is {shape} {dtype} in the engine, {spec.shape} float32 in the manifest; recompile"
                )
